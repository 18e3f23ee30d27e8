//! Server on a thread of this process.

use std::sync::{Mutex, PoisonError};

use ncs4cvr::arguments::serve::Serve;
use ncs4cvr::commands::serve::Serving;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::errors::Failure;
use crate::verbs::parsed;
use crate::work;

/// Running server; it stops when it is dropped.
#[pyclass(frozen, module = "ncs4cvr._core")]
pub(crate) struct Server {
    /// Handle of the server; `None` after it stopped.
    serving: Mutex<Option<Serving>>,
    addresses: [String; 3],
}

/// Starts a server with the arguments of `ncs serve`, and waits until it is ready.
#[pyfunction]
pub(crate) fn serve(py: Python<'_>, arguments: Vec<String>) -> PyResult<Server> {
    work::run(py, |_| {
        let arguments: Serve = parsed("serve", arguments)?;
        let serving = Serving::start(&arguments)?;
        let addresses = serving.addresses();
        let addresses = [addresses.http, addresses.grpc, addresses.admin];
        Ok(Server {
            serving: Mutex::new(Some(serving)),
            addresses: addresses.map(|address| address.to_string()),
        })
    })
}

#[pymethods]
impl Server {
    /// HTTP address and port.
    #[getter]
    fn http(&self) -> &str {
        &self.addresses[0]
    }

    /// gRPC address and port.
    #[getter]
    fn grpc(&self) -> &str {
        &self.addresses[1]
    }

    /// Address and port of the admin API.
    #[getter]
    fn admin(&self) -> &str {
        &self.addresses[2]
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.stop(py)
    }

    /// Stops the server gracefully: waits until the requests in progress are answered.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let mut serving = self
            .serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stopped = py.detach(|| serving.as_mut().map_or(Ok(()), Serving::stop));
        stopped.map_err(|text| Failure::from(text).raised(py))
    }
}

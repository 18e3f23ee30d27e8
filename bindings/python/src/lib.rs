//! The module `ncs4cvr._core`: the compiled part of the package. It releases the interpreter while Rust works.
//!
//! The module is thin: it converts arguments from Python, calls the crates below, and converts results and errors
//! back. The package in `python/ncs4cvr` adds names and types.

mod daily;
mod errors;
mod export;
mod frames;
mod json;
mod model;
mod rank;
mod run;
mod serve;
mod table;
mod verbs;
mod watch;
mod work;

use pyo3::prelude::*;

/// The core of the package; see `ncs4cvr`.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::daily::{backtest, calibrate, drift, forget, promote};
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::run::{check, keep_frame, schema, standing_alone, train};
    #[pymodule_export]
    use crate::serve::{Server, serve};
    #[pymodule_export]
    use crate::table::Table;
    #[pymodule_export]
    use crate::verbs::{compare, init, main, synth, tune};

    #[pymodule_init]
    fn init_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

//! Export of models to other runtimes, and their inputs as arrays.

use std::sync::atomic::{AtomicBool, Ordering};

use ncs_experiments::scoring::{self, LoadedModel, Stopped};
use ncs_export::{InputTensor, Signature, TensorValues};
use ncs_features::{Encoder, FieldInput};
use ncs_readers::Lookup;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::Failure;
use crate::frames::Data;

/// Encodes rows as the inputs of the exported model.
pub(crate) fn encode(
    model: &LoadedModel,
    data: Data,
    lookups: &[Lookup],
    stop: &AtomicBool,
) -> Result<Vec<InputTensor>, Failure> {
    let signature = Signature::of(model.schema())?;
    let encoder = Encoder::new(model.schema().clone());
    let rows = data.rows(lookups)?;
    scoring::check_looked_up(model, &rows)?;
    let mut encoded = rows.encoded(encoder.clone(), false, &[])?;
    let mut fields: Vec<FieldInput> = Vec::new();
    while let Some(next) = encoded.next_rows() {
        let (rows, batch) = next?;
        if stop.load(Ordering::Relaxed) {
            let left_undone = "nothing was encoded";
            return Err(Failure::new(
                "NcsError",
                Stopped { left_undone }.to_string(),
            ));
        }
        let more = encoder.inputs(&rows.block, &batch);
        let more = more.map_err(|error| rows.error(error))?;
        if fields.is_empty() {
            fields = more
        } else {
            fields
                .iter_mut()
                .zip(more)
                .for_each(|(field, more)| field.append(more))
        }
    }
    if fields.is_empty() {
        Err(Failure::new("DataError", "there are no rows to encode"))
    } else {
        Ok(signature.tensors(&fields))
    }
}

/// Converts inputs to numpy arrays by name.
pub(crate) fn arrays<'py>(
    py: Python<'py>,
    tensors: Vec<InputTensor>,
) -> PyResult<Bound<'py, PyDict>> {
    let by_name = PyDict::new(py);
    for InputTensor {
        name,
        shape,
        values,
    } in tensors
    {
        match values {
            TensorValues::Texts(texts) => {
                let texts = texts.into_iter().map(|text| text.into_py_any(py));
                let texts = texts.collect::<PyResult<Vec<Py<PyAny>>>>()?;
                by_name.set_item(name, PyArray1::from_vec(py, texts).reshape(shape)?)?;
            }
            TensorValues::I64(values) => {
                by_name.set_item(name, PyArray1::from_vec(py, values).reshape(shape)?)?;
            }
            TensorValues::F64(values) => {
                by_name.set_item(name, PyArray1::from_vec(py, values).reshape(shape)?)?;
            }
        }
    }
    Ok(by_name)
}

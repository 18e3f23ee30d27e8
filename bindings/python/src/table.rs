//! Arrow table that the package returns, so that no data frame library is required.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    RecordBatchIterator, StringArray,
};
use arrow_schema::{ArrowError, DataType};
use numpy::{PyArray1, ToPyArray};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};

/// Named columns of equal length. Any Arrow reader accepts it: `polars.DataFrame(table)`, `pyarrow.table(table)`,
/// `duckdb.from_arrow(table.to_pyarrow())`.
#[pyclass(frozen, module = "ncs4cvr")]
pub(crate) struct Table {
    batch: RecordBatch,
}

impl Table {
    /// Builds a table from columns of scores, `[output][row]`.
    pub(crate) fn of_scores(names: &[String], scores: Vec<Vec<f32>>) -> Result<Table, ArrowError> {
        let columns = names.iter().zip(scores);
        let columns = columns.map(|(name, scores)| {
            let scores: ArrayRef = Arc::new(Float32Array::from(scores));
            (name.as_str(), scores)
        });
        let batch = RecordBatch::try_from_iter(columns)?;
        Ok(Table { batch })
    }

    pub(crate) fn with_front(&self, name: &str, numbers: Vec<i64>) -> Result<Table, ArrowError> {
        let first: ArrayRef = Arc::new(Int64Array::from(numbers));
        let schema = self.batch.schema();
        let others = schema.fields().iter().zip(self.batch.columns());
        let others = others.map(|(field, column)| (field.name().as_str(), column.clone()));
        let batch = RecordBatch::try_from_iter(std::iter::once((name, first)).chain(others))?;
        Ok(Table { batch })
    }
}

pub(crate) fn wrong(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

#[pymethods]
impl Table {
    /// Builds a table from columns of Python values: integers, floats, booleans or strings; None becomes null.
    #[staticmethod]
    fn of_columns(columns: &Bound<'_, PyDict>) -> PyResult<Table> {
        let mut made: Vec<(String, ArrayRef)> = Vec::new();
        for (name, values) in columns {
            made.push((name.extract()?, column(&values)?));
        }
        let columns = made.into_iter().map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(wrong)?;
        Ok(Table { batch })
    }

    /// Names of the columns, in order.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        let schema = self.batch.schema();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    /// Number of rows.
    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns a column: a numpy array if it holds numbers without nulls, otherwise a list.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let Some(array) = self.batch.column_by_name(name) else {
            let names = self.column_names().join(", ");
            return Err(PyKeyError::new_err(format!(
                "no column {name:?}; there are {names}"
            )));
        };
        let has_nulls = array.null_count() > 0;
        match array.data_type() {
            DataType::Float32 if !has_nulls => Ok(array
                .as_primitive::<Float32Type>()
                .values()
                .to_pyarray(py)
                .into_any()),
            DataType::Float64 if !has_nulls => Ok(array
                .as_primitive::<Float64Type>()
                .values()
                .to_pyarray(py)
                .into_any()),
            DataType::Int64 if !has_nulls => {
                let array: Bound<'py, PyArray1<i64>> =
                    array.as_primitive::<Int64Type>().values().to_pyarray(py);
                Ok(array.into_any())
            }
            DataType::Float32 => listed(py, array.as_primitive::<Float32Type>().iter()),
            DataType::Float64 => listed(py, array.as_primitive::<Float64Type>().iter()),
            DataType::Int64 => listed(py, array.as_primitive::<Int64Type>().iter()),
            DataType::Boolean => listed(py, array.as_boolean().iter()),
            DataType::Utf8 => listed(py, array.as_string::<i32>().iter()),
            other => Err(wrong(format!("a column of {other}"))),
        }
    }

    /// Converts to a `pyarrow.Table` without copying.
    fn to_pyarrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("pyarrow")?.call_method1("table", (slf,))
    }

    /// Converts to a `pandas.DataFrame` through pyarrow.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Table::to_pyarrow(slf)?.call_method0("to_pandas")
    }

    /// Converts to a `polars.DataFrame` without copying.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("polars")?.call_method1("DataFrame", (slf,))
    }

    fn __repr__(&self) -> String {
        format!(
            "Table({} rows: {})",
            self.batch.num_rows(),
            self.column_names().join(", ")
        )
    }

    /// Renders the first rows as HTML for notebooks.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py()
            .import("ncs4cvr._html")?
            .call_method1("first_rows", (slf,))
    }

    /// Exports the schema through the Arrow C interface.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.batch.schema().as_ref()).map_err(wrong)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// Exports the rows through the Arrow C interface. The requested schema is ignored.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = RecordBatchIterator::new([Ok(self.batch.clone())], self.batch.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}

/// Returns the values as a Python list.
fn listed<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    values: impl ExactSizeIterator<Item = Option<T>>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyList::new(py, values)?.into_any())
}

fn column(values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    if let Ok(truths) = values.extract::<Vec<Option<bool>>>()
        && truths.iter().any(Option::is_some)
    {
        return Ok(Arc::new(BooleanArray::from(truths)));
    }
    if let Ok(numbers) = values.extract::<Vec<Option<i64>>>()
        && numbers.iter().any(Option::is_some)
    {
        return Ok(Arc::new(Int64Array::from(numbers)));
    }
    if let Ok(numbers) = values.extract::<Vec<Option<f64>>>() {
        return Ok(Arc::new(Float64Array::from(numbers)));
    }
    if let Ok(texts) = values.extract::<Vec<Option<String>>>() {
        return Ok(Arc::new(StringArray::from(texts)));
    }
    lists(values)
}

/// Converts lists of integers or strings.
fn lists(values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    if let Ok(rows) = values.extract::<Vec<Option<Vec<Option<i64>>>>>() {
        return Ok(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            rows,
        )));
    }
    let rows: Vec<Option<Vec<Option<String>>>> = values.extract()?;
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        match row {
            None => lists.append_null(),
            Some(items) => lists.append_value(items),
        }
    }
    Ok(Arc::new(lists.finish()))
}

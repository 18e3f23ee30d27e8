//! The module `ncs4cvr._core`: what Python calls of the library, with the interpreter released while Rust works.
//!
//! It is thin. What a call does is in the crates below; here Python's values become theirs, results become Python's,
//! and errors become exceptions. The package in `python/ncs4cvr` puts names and types on it.

mod errors;
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

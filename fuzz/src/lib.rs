//! Fuzzing of all code that reads external bytes: request bodies, models and data files.
//!
//! A [`Target`] reads one input and must return a result or an error. [`drive::run`] mutates
//! its seeds, keeps inputs with a new outcome, and reports a failure if a target panics,
//! takes more memory than [`watch::max_bytes`], or more time than [`watch::MAX_TIME`].
//!
//! ```
//! let target = ncs_fuzz::targets::named("labels").expect("a known target");
//! assert!((target.run)(br#"{"stable": 3}"#).is_ok());
//! assert!((target.run)(b"{").is_err());
//! ```

pub mod drive;
pub mod growth;
pub mod models;
pub mod mutate;
pub mod random;
pub mod shrink;
pub mod targets;
pub mod watch;

pub use targets::Target;

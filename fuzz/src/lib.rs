//! Wrong inputs for everything that reads bytes from outside: request bodies, models and files of rows.
//!
//! A [`Target`] reads one input and must come back, with an answer or a refusal. [`drive::run`] makes
//! inputs out of its seeds, keeps those that are answered in a new way, and fails where a target panics,
//! takes more memory than [`watch::most_bytes`], or more time than [`watch::MOST_TIME`].
//!
//! ```
//! let target = ncs_fuzz::targets::named("labels").expect("one of them");
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

//! Errors of the Parquet library, and its panics, as errors of ours.

use crate::panics::caught;
use crate::source::ReadError;
use ::parquet::errors::ParquetError;
use std::path::Path;

/// Why a file, or the rows after some, could not be read.
pub(super) enum Failure {
    /// Error returned by the library.
    Error(ParquetError),
    /// The library panicked, as it does over some damaged pages; in its words.
    Panic(String),
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Failure {
        Failure::Error(error)
    }
}

impl Failure {
    /// Returns the error of a file after `rows` rows; `what` describes it, except for unsupported content.
    pub(super) fn of_file(self, path: &Path, rows: u64, what: &str) -> ReadError {
        let text = match self {
            Failure::Panic(text) => {
                let what = format!(
                    "the Parquet library stopped over these bytes (\"{text}\"): they are damaged, or of \
                     a kind that it does not know; write the file again, with other settings if \
                     that does not help"
                );
                return ReadError::damaged(path, rows, what);
            }
            Failure::Error(ParquetError::External(source)) => {
                return match source.downcast::<std::io::Error>() {
                    Ok(source) => ReadError::reading(path, rows, *source),
                    Err(source) => ReadError::damaged(path, rows, format!("{what} ({source})")),
                };
            }
            Failure::Error(error) => match unsupported(&error) {
                Some(text) => return ReadError::unsupported(path, text),
                None => error.to_string(),
            },
        };
        let text = text.trim_start_matches("Parquet error: ");
        ReadError::damaged(
            path,
            rows,
            format!("{what} ({text}); copy or write it again"),
        )
    }
}

/// Returns the unsupported feature that the file needs, if the error reports one.
fn unsupported(error: &ParquetError) -> Option<String> {
    const SIGNS: [&str; 6] = [
        "not supported",
        "unsupported",
        "disabled feature",
        "not implemented",
        "encrypt",
        "not yet",
    ];
    let text = match error {
        ParquetError::NYI(text) => return Some(text.clone()),
        ParquetError::General(text) => text,
        _ => return None,
    };
    let lower = text.to_lowercase();
    SIGNS
        .iter()
        .any(|sign| lower.contains(sign))
        .then(|| text.clone())
}

/// Returns the result of `read`, or an error if it panics. State that a panic left incomplete is not used
/// again: reading of that file ends.
pub(super) fn guarded<T, E: Into<Failure>>(
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, Failure> {
    caught(read)
        .map_err(Failure::Panic)
        .and_then(|result| result.map_err(Into::into))
}

//! Why rows cannot be divided.

use ncs_features::EncodeError;

/// A row that belongs to no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The split's column is absent, or not what it should be.
    #[error(transparent)]
    Column(#[from] EncodeError),
    /// A row without time.
    #[error(
        "column \"{column}\", row {row}: no time; the split needs one on every row: leave such rows \
         out, or split by hash"
    )]
    NoTime {
        /// The time column.
        column: String,
        /// The row, from 1.
        row: u64,
    },
    /// Shares of time whose boundaries were not resolved on the files.
    #[error(
        "column \"{column}\": the split states shares of time; resolve it before rows are divided"
    )]
    Unresolved {
        /// The time column.
        column: String,
    },
}

impl SplitError {
    /// Returns the same error for a block whose first row comes after `rows` rows of the file.
    pub fn after(self, rows: u64) -> SplitError {
        match self {
            SplitError::Column(error) => SplitError::Column(error.after(rows)),
            SplitError::Unresolved { .. } => self,
            SplitError::NoTime { column, row } => SplitError::NoTime {
                column,
                row: row + rows,
            },
        }
    }
}

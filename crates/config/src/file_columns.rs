//! The columns that a file holds.

/// The columns of the first file of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumns {
    /// Name of the file in messages.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
}

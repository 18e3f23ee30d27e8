//! The weights of a network as plain data.

use crate::tables::SparseRows;

/// The weights of a network, in the form in which they are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights<R = f32> {
    /// Parameters of layers and heads.
    pub dense: Vec<R>,
    /// The initialised rows of each table.
    pub tables: Vec<SparseRows<R>>,
}

//! Positions of a layer in the dense weights of a network.

use std::ops::Range;

/// Positions of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLayout {
    /// Number of (logical) inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// The weights, `[inputs, outputs]`.
    pub weights: Range<usize>,
    /// The biases, `[outputs]`; some layers of an attention have none. Never masked.
    pub bias: Range<usize>,
}

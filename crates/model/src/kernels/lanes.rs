//! The memory layout of activations: tiles of 64 batch rows, feature by feature.

/// Number of batch rows in a tile.
pub const LANES: usize = 64;

/// One feature of the 64 rows of a tile, aligned to a cache line: kernels are up to 1.7 times slower
/// if vectors straddle lines.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes<R>(pub [R; LANES]);

impl<R: Copy> Lanes<R> {
    /// Fills every lane with the same number.
    pub fn all(value: R) -> Lanes<R> {
        Lanes([value; LANES])
    }
}

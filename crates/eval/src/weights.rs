//! Weights of rows in metrics: a row of weight 2 counts as two rows of weight 1.

/// The weights of rows; without any, every row counts once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights<'a>(&'a [f32]);

impl<'a> Weights<'a> {
    /// Every row counts once.
    pub const NONE: Weights<'static> = Weights(&[]);

    /// Returns the weights of rows: finite numbers above 0, or none at all.
    pub fn of(weights: &'a [f32]) -> Weights<'a> {
        Weights(weights)
    }

    /// Returns the weight of a row.
    pub fn get(&self, row: usize) -> f64 {
        self.0.get(row).map_or(1.0, |&weight| weight.into())
    }
}

//! Vectors that come with the rows, such as the embedding of an item's text or picture by another model: a list of
//! finite numbers of one length.
//!
//! They are either inputs of the first layer, beside one that is 1 where the vector is missing (all others are 0
//! then), or, *projected*, a field vector: the sum of the rows of a table, one for each number, weighted by the
//! numbers, and a row that every vector adds. That is a learned matrix and an offset; a missing vector has
//! a row of its own.

use crate::batch::FieldIds;
use serde::{Deserialize, Serialize};

/// Longest vector.
pub const MOST_NUMBERS: u32 = 65_536;

/// Vectors as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorPlan {
    /// Number of numbers, at least 1.
    pub length: u32,
    /// True if they become one field vector by a learned matrix, false if each is an input of the first layer.
    pub projected: bool,
    /// True if each number is standardised by its mean and deviation over the training rows.
    pub standardise: bool,
}

/// Fitted vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vector {
    /// Number of numbers, at least 1.
    pub length: u32,
    /// True if they become one field vector by a learned matrix, false if each is an input of the first layer.
    pub projected: bool,
    /// Mean and standard deviation of each number; empty: the numbers are used as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scale: Vec<[f64; 2]>,
}

impl VectorPlan {
    /// Returns the vectors of this plan with a scale.
    pub fn fitted(self, scale: Vec<[f64; 2]>) -> Vector {
        Vector {
            length: self.length,
            projected: self.projected,
            scale,
        }
    }
}

impl Vector {
    /// Returns the number of table rows: 0 is "missing", `i` that of number `i` from 1, and the last is added to
    /// every vector. None without a projection.
    pub fn n_rows(&self) -> usize {
        if self.projected {
            self.length as usize + 2
        } else {
            0
        }
    }

    /// Checks the values of a model from a file.
    ///
    /// # Errors
    /// The text describes the error.
    pub fn check(&self) -> Result<(), String> {
        let is_scale = |[mean, deviation]: &[f64; 2]| {
            mean.is_finite() && deviation.is_finite() && *deviation > 0.0
        };
        let n = self.length as usize;
        let fits = (1..=MOST_NUMBERS).contains(&self.length)
            && (self.scale.is_empty() || self.scale.len() == n)
            && self.scale.iter().all(is_scale);
        if fits {
            Ok(())
        } else {
            Err("is not a valid encoding of vectors".to_owned())
        }
    }

    /// Returns true if a plan reads the same vectors in the same way.
    pub(crate) fn is_of(&self, plan: &VectorPlan) -> bool {
        self.length == plan.length
            && self.projected == plan.projected
            && self.scale.is_empty() != plan.standardise
    }

    /// Appends a row of numbers; a missing vector is NaN, then zeros.
    pub(crate) fn place(&self, numbers: Option<&[f64]>, out: &mut FieldIds) {
        match numbers {
            Some(numbers) => out.numbers.extend(self.scaled(numbers)),
            None => {
                out.numbers.push(f32::NAN);
                let rest = self.length as usize - 1;
                out.numbers.extend(std::iter::repeat_n(0.0, rest));
            }
        }
    }

    /// Appends the table rows of a row, with their weights.
    pub(crate) fn project(&self, numbers: Option<&[f64]>, out: &mut FieldIds) {
        match numbers {
            Some(numbers) => {
                out.ids.extend(1..=self.length + 1);
                out.weights.extend(self.scaled(numbers).chain([1.0]));
            }
            None => {
                out.ids.push(0);
                out.weights.push(1.0);
            }
        }
        out.offsets.push(out.ids.len() as u32);
    }

    fn scaled(&self, numbers: &[f64]) -> impl Iterator<Item = f32> {
        let numbers = numbers.iter().enumerate();
        numbers.map(move |(i, x)| match self.scale.get(i) {
            Some([mean, deviation]) => ((x - mean) / deviation) as f32,
            None => *x as f32,
        })
    }
}

//! How much tasks agree on what they read, as a training measured it.

use serde::{Deserialize, Serialize};

/// The agreement of two tasks: the correlation, free of the batches' noise, of the gradients by which each moves the
/// first layer of a copy of its own, from the same weights and over common tables.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The two tasks, by their numbers.
    pub tasks: [usize; 2],
    /// About 1 where both pull alike, 0 where they have nothing to do with each other; `None` where the gradients of
    /// one of them are noise.
    pub rho: Option<f64>,
}

impl Agreement {
    /// In a sentence, `names` being those of the two tasks.
    pub fn in_words(&self, [first, second]: [&str; 2]) -> String {
        match self.rho {
            Some(rho) => {
                format!("agreement of {first} and {second} in the first layer (rho): {rho:.2}")
            }
            None => format!(
                "agreement of {first} and {second} in the first layer (rho): unknown, too little data to tell it from \
                 noise"
            ),
        }
    }
}

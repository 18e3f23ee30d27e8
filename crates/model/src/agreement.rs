//! Gradient agreement between tasks, as measured in a training.

use serde::{Deserialize, Serialize};

/// The agreement of two tasks: the noise-corrected correlation of their gradients of the first layer. Each task
/// trains its own copy of the network, from the same initial weights and over common tables.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The two tasks, by their numbers.
    pub tasks: [usize; 2],
    /// About 1 if the gradients agree, 0 if they are unrelated; `None` if the gradients of
    /// one task cannot be told from noise.
    pub rho: Option<f64>,
}

impl Agreement {
    /// Describes the agreement in a sentence, with the names of the two tasks.
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

//! Why rows cannot be compared with those of a training.

/// Error: the model has nothing to compare with.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{model}: the model carries no distributions of its training rows: it was written by an earlier version. Train it again, or \
     go on from it (ncs train --from)"
)]
pub struct NoDistributions {
    /// Folder of the model.
    pub model: String,
}

//! The numbers: tables, masked networks, kernels, artifacts, the scorer.

pub mod plan;
pub mod tensor_file;

pub use plan::{Gram, NetworkKind, NetworkPlan};

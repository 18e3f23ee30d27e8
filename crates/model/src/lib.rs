//! The numbers: tables, masked networks, kernels, artifacts, the scorer.

pub mod plan;

pub use plan::{Gram, NetworkKind, NetworkPlan};

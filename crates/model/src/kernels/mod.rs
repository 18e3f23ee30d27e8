//! The products of a layer. [`mod@reference`] defines what is right, [`dense`] is the same, fast.
//!
//! Matrices are row-major: inputs `[rows, inputs]`, weights `[inputs, outputs]`, outputs
//! `[rows, outputs]`.

pub mod dense;
pub mod reference;

//! The server: a [`question`](crate::question) about one user and many candidates comes in over HTTP or
//! gRPC, a worker encodes it by the model's schema and scores it, the answer goes back.

pub mod proto;
pub mod question;
pub mod refusal;
pub mod telemetry;

pub use refusal::{Kind, Refusal};

//! Prediction server. A [request](rank_request) about one user and many candidates arrives over HTTP or
//! gRPC, a worker encodes it with the model's schema and scores it, and the scores are returned.

pub mod api_error;
pub mod api_keys;
pub mod api_state;
mod background;
pub mod body;
pub mod budget;
pub mod compute;
pub mod context_cache;
pub mod description;
pub mod drift;
pub mod grpc;
pub mod guesses;
pub mod http;
pub mod listen;
pub mod lookup;
pub mod proto;
pub mod queue;
pub mod rank_request;
mod rankers;
pub mod registry;
pub mod repository;
pub mod score_log;
mod serve_error;
pub mod server;
pub mod service;
pub mod shadow;
pub mod statistics;
pub mod telemetry;
pub mod version;
pub mod wire;
pub mod words;
pub mod worst_case;

pub use api_error::{ApiError, ErrorKind};

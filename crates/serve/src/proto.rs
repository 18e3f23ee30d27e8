//! Messages and services as `proto/` declares them.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; proto/ has the comments"
)]

pub mod texts;

/// The Open Inference Protocol.
pub mod inference {
    tonic::include_proto!("inference");
}

/// The rank call.
pub mod ranking {
    pub use super::texts::Texts;

    tonic::include_proto!("ncs4cvr.v1");
}

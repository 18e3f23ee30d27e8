//! Messages and services as `proto/` declares them. The code in `proto/generated/` is made of these by `tools/proto`, so
//! that a build needs no compiler of protobuf.

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
    include!("../proto/generated/inference.rs");
}

/// The rank call.
pub mod ranking {
    pub use super::texts::Texts;

    include!("../proto/generated/ncs4cvr.v1.rs");
}

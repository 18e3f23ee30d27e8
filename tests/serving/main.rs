//! `ncs serve` as its callers and its operators meet it.

mod abuse;
mod docs;
mod grpc;
mod harness;
mod keys;
mod life;
mod lookup;
mod malformed;
mod parity;
mod score_log;
mod several_tasks;
mod swap;
#[path = "../trained/mod.rs"]
mod trained;
mod values;

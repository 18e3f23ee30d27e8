//! Tests of hostile or faulty peers.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod drain;
mod few_files;
mod heads;
mod http2;
mod places;
mod secure;

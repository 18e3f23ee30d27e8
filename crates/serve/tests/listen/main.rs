//! What peers may do to a server that it must withstand, one test for each.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod drain;
mod few_files;
mod heads;
mod http2;
mod places;
mod secure;

//! Writes the code of the messages and services in `crates/serve/proto`, made without `protoc`, and the hashes of both, which
//! `crates/serve/tests/generated.rs` compares:
//!
//!     cargo run --manifest-path tools/proto/Cargo.toml

use std::error::Error;
use std::fs;
use std::path::Path;

const MESSAGES: [&str; 2] = ["inference.proto", "ranking.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/serve/proto");
    let files = protox::compile(MESSAGES, [&proto])?;
    tonic_prost_build::configure()
        .out_dir(proto.join("generated"))
        // The server reads messages within its own limits: `crates/serve/src/grpc.rs`.
        .build_server(false)
        // One buffer for all, not an allocation for each: a request has thousands.
        .extern_path(".ncs4cvr.v1.Texts", "crate::proto::texts::Texts")
        // Parts of what was received, not copies.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    let generated = ["generated/inference.rs", "generated/ncs4cvr.v1.rs"];
    let mut hashes = String::new();
    for name in MESSAGES.iter().chain(&generated) {
        let hash = blake3::hash(&fs::read(proto.join(name))?);
        hashes += &format!("{hash}  {name}\n");
    }
    fs::write(proto.join("generated/hashes.txt"), hashes)?;
    Ok(())
}

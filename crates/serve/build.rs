//! The protobuf messages and services, from `proto/`, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["inference.proto", "ranking.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // The server reads messages within its own limits: `src/grpc.rs`.
        .build_server(false)
        // One buffer for all, not an allocation for each: a request has thousands.
        .extern_path(".ncs4cvr.v1.Texts", "crate::proto::texts::Texts")
        // Parts of what was received, not copies.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .compile_fds(files)?;
    Ok(())
}

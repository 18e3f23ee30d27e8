//! The code in `proto/generated/` is that of the messages and services in `proto/`, made without `protoc`. With
//! `NCS_WRITE_PROTO=1` it is written.

use std::path::Path;

#[test]
fn generated_code_is_that_of_the_messages() {
    let folder = tempfile::tempdir().unwrap();
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = crate_folder.join("proto");
    let files = protox::compile(["inference.proto", "ranking.proto"], [&proto]).unwrap();
    tonic_prost_build::configure()
        .out_dir(folder.path())
        // The server reads messages within its own limits: `src/grpc.rs`.
        .build_server(false)
        // One buffer for all, not an allocation for each: a request has thousands.
        .extern_path(".ncs4cvr.v1.Texts", "crate::proto::texts::Texts")
        // Parts of what was received, not copies.
        .bytes(".inference.ModelInferRequest.raw_input_contents")
        .bytes(".inference.ModelInferResponse.raw_output_contents")
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .unwrap();
    for name in ["inference.rs", "ncs4cvr.v1.rs"] {
        let made = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let path = proto.join("generated").join(name);
        if std::env::var_os("NCS_WRITE_PROTO").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(
            made == kept,
            "{name} differs; run NCS_WRITE_PROTO=1 cargo test -p ncs-serve --test generated"
        );
    }
}

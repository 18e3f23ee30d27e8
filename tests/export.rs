//! `ncs export`: its files, what it prints, what it refuses. What the files hold is tested in `crates/export/tests` and
//! `bindings/python/tests/test_onnx.py`.

mod trained;

use std::fs;

use ncs_model::NetworkKind;
use trained::{done, folder, ncs, refused};

#[test]
fn a_model_is_written_with_test_vectors_and_told() {
    let folder = folder(NetworkKind::SparseSharing);
    let arguments = ["export", "run", "--format", "onnx", "--out", "feed.onnx"];
    let report = done(folder.path(), &arguments);
    let [vectors, model, inputs, outputs] = report.lines().collect::<Vec<_>>()[..] else {
        panic!("{report}");
    };
    assert!(vectors.starts_with("feed.onnx.vectors.json: "), "{report}");
    assert!(model.starts_with("feed.onnx: "), "{report}");
    assert!(inputs.contains("tags, tags.lengths, price"), "{report}");
    assert_eq!(outputs, "outputs: p_ctr, p_cvr, p_ctcvr");
    let read = || fs::read(folder.path().join("feed.onnx")).unwrap();
    let first = read();
    done(folder.path(), &arguments);
    assert_eq!(read(), first);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let folder = folder(NetworkKind::Aitm);
    let inside = ["export", "run", "--out", "run/model/feed.onnx"];
    refused(
        folder.path(),
        &inside,
        &["run/model/feed.onnx", "name a file elsewhere"],
    );
    let absent = ["export", "run", "--out", "absent/feed.onnx"];
    refused(
        folder.path(),
        &absent,
        &["absent/feed.onnx", "check that its folder exists"],
    );
    let no_model = ["export", "log", "--out", "feed.onnx"];
    refused(folder.path(), &no_model, &["no model here"]);
    let misspelt = ncs(
        folder.path(),
        &["export", "run", "--format", "onx", "--out", "feed.onnx"],
    );
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misspelt.stderr).contains("'onnx'"));
    assert!(!folder.path().join("feed.onnx").exists());
}

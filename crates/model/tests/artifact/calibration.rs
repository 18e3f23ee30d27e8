//! Tests of calibrators and self-tests in model files.

use crate::{N_SEEN, batch, complete, names, read_error, sparse_sharing};
use ncs_model::artifact::Artifact;
use ncs_model::{Calibrator, Scorer, Workspace};

#[test]
fn calibrators_and_a_self_test_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let artifact = complete();
    artifact.write(&model).unwrap();
    let read = Artifact::read(&model).unwrap();
    assert_eq!(read.calibrators, artifact.calibrators);
    assert_eq!(read.self_test, artifact.self_test);
    let scorer = Scorer::new(&read).unwrap();
    read.self_test.unwrap().check(&scorer).unwrap();
    let mut raw = scorer.score_uncalibrated(&batch(1, N_SEEN), &mut Workspace::new(1));
    let calibrated = scorer.score(&batch(1, N_SEEN), &mut Workspace::new(1));
    assert_eq!(raw[0], calibrated[0]);
    assert_ne!(raw[1], calibrated[1]);
    scorer.calibrate(&mut raw);
    assert_eq!(raw, calibrated);
}

#[test]
fn a_model_with_other_scores_fails_its_self_test() {
    let mut artifact = complete();
    let test = artifact.self_test.clone().unwrap();
    artifact.calibrators = vec![];
    let error = test.check(&Scorer::new(&artifact).unwrap()).unwrap_err();
    assert!(error.contains("row 1 of the self-test scores"), "{error}");
    assert!(error.contains("\"cvr\""), "{error}");
}

#[test]
fn invalid_calibrators_and_a_changed_self_test_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let check = |change: &dyn Fn(&mut Artifact), expected: &str| {
        let mut artifact = complete();
        change(&mut artifact);
        artifact.write(&model).unwrap();
        let error = read_error(&model);
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|artifact| _ = artifact.calibrators.pop(),
        "a calibrator for each task",
    );
    let decreasing = Calibrator::Platt {
        slope: -1.0,
        offset: 0.0,
    };
    check(
        &|artifact| artifact.calibrators[0] = Some(decreasing.clone()),
        "not an increasing function",
    );
    complete().write(&model).unwrap();
    let path = model.join("self_test.json");
    let mut text = std::fs::read(&path).unwrap();
    text[20] ^= 1;
    std::fs::write(&path, text).unwrap();
    assert!(
        read_error(&model).contains("self_test.json"),
        "{}",
        read_error(&model)
    );
    std::fs::remove_file(&path).unwrap();
    assert!(
        read_error(&model).contains("self_test.json"),
        "{}",
        read_error(&model)
    );
}

#[test]
fn a_model_without_them_has_three_files() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    sparse_sharing().write(&model).unwrap();
    let manifest = std::fs::read_to_string(model.join("manifest.json")).unwrap();
    assert!(!manifest.contains("calibrators") && !manifest.contains("self_test"));
    assert_eq!(names(&model).len(), 3);
}

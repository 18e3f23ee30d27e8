//! Model trained with a calibrator: its probabilities match the observed rates, and it passes its self-test.

mod trained;

use std::path::Path;

use serde_json::Value;
use trained::{done, refused};

/// Trains on clicks with focal loss, whose probabilities are not calibrated.
fn train(folder: &Path, out: &str, kind: &str) -> Value {
    let kind = format!("calibration.kind={kind}");
    let arguments = [
        "train",
        "log/run.toml",
        "--out",
        out,
        "--set",
        "tasks.ctr.loss={ kind = \"focal\", alpha = 0.75, gamma = 2.0 }",
        "--set",
        "network.kind=shared_bottom",
        "--set",
        "network.hidden=[16]",
        "--set",
        "training.epochs=2",
        "--set",
        "evaluation.bootstrap=0",
        "--set",
        &kind,
    ];
    done(folder, &arguments);
    let text = std::fs::read_to_string(folder.join(out).join("metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_calibrated_model_says_rates_and_ranks_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(
        folder,
        &[
            "synth", "--rows", "30000", "--format", "csv", "--out", "log",
        ],
    );
    let figure = |metrics: &Value, name: &str| metrics["tasks"]["ctr"][name].as_f64().unwrap();
    let plain = train(folder, "plain", "none");
    assert!((figure(&plain, "pcoc") - 1.0).abs() > 0.2, "{plain}");
    for kind in ["platt", "isotonic"] {
        let calibrated = train(folder, kind, kind);
        let (pcoc, ece) = (figure(&calibrated, "pcoc"), figure(&calibrated, "ece"));
        println!(
            "{kind}: PCOC {pcoc:.4}, ECE {ece:.4}; none: {:.4}",
            figure(&plain, "pcoc")
        );
        // Three standard deviations of 600 clicks on either side.
        assert!((pcoc - 1.0).abs() < 0.2, "{kind}: {pcoc}");
        assert!(ece < 0.5 * figure(&plain, "ece"), "{kind}: {ece}");
        assert!(figure(&calibrated, "log_loss") < figure(&plain, "log_loss"));
        let moved = figure(&calibrated, "auc") - figure(&plain, "auc");
        assert!(moved.abs() < 0.005, "{kind}: the AUC moves by {moved}");
        let printed = done(folder, &["inspect", kind]);
        let name = match kind {
            "platt" => "calibrators: ctr Platt (",
            _ => "calibrators: ctr isotonic (",
        };
        assert!(printed.contains(name), "{printed}");
        assert!(printed.contains("self-test: 32 rows"), "{printed}");
        let report = std::fs::read_to_string(folder.join(kind).join("report.html")).unwrap();
        assert!(report.contains("calibrated on the validation rows"));
    }
}

#[test]
fn a_calibrator_needs_validation_rows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(
        folder,
        &["synth", "--rows", "100", "--format", "csv", "--out", "log"],
    );
    let text = std::fs::read_to_string(folder.join("log/run.toml")).unwrap();
    let text = text
        .replace("valid = \"valid.csv\"\n", "")
        .replace("patience = 4\n", "");
    std::fs::write(folder.join("log/run.toml"), text).unwrap();
    let arguments = [
        "check",
        "log/run.toml",
        "--set",
        "calibration.kind=platt",
        "--set",
        "network.kind=shared_bottom",
    ];
    refused(
        folder,
        &arguments,
        &["calibration.kind", "needs validation rows"],
    );
}

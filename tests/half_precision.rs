//! Trained models rank the same in half precision as in single precision.

mod trained;

use ncs_eval::auc::auc;
use ncs_features::{Batch, Encoder};
use ncs_model::artifact;
use ncs_model::kernels::SimdLevel;
use ncs_model::{RankBuffers, Ranker, Scorer};
use ncs_readers::{Encoded, Reading};
use std::path::Path;
use std::sync::Arc;
use trained::done;

/// Trains on a synthetic log, and reads its test rows.
fn trained_model(folder: &Path) -> (Arc<Scorer>, Vec<Batch>) {
    let rates = ["--click-rate", "0.3", "--conversion-rate", "0.3"];
    let synth = [
        "synth", "--rows", "30000", "--format", "csv", "--out", "log",
    ];
    done(folder, &[&synth[..], &rates].concat());
    let settings = [
        "--set",
        "network.kind=sparse_sharing",
        "--set",
        "search.kind=random",
        "--set",
        "network.hidden=[128, 64]",
        "--set",
        "training.epochs=2",
    ];
    let train = ["--quiet", "train", "log/run.toml", "--out", "run"];
    done(folder, &[&train[..], &settings].concat());
    let artifact = artifact::Artifact::read(&folder.join("run/model")).unwrap();
    let scorer = Scorer::new(&artifact).unwrap();
    let encoder = Encoder::new(scorer.schema().clone());
    let files = vec![folder.join("log/test.csv")];
    let batches = Encoded::open(files, &Reading::default(), encoder, true);
    (Arc::new(scorer), batches.map(Result::unwrap).collect())
}

#[test]
fn half_precision_moves_no_auc_by_half_a_thousandth() {
    let folder = tempfile::tempdir().unwrap();
    let (scorer, batches) = trained_model(folder.path());
    let single = Ranker::new(&scorer, &[]).unwrap();
    let half = Ranker::in_half(&scorer, &[]).unwrap();
    let mut buffers = RankBuffers::default();
    let mut score = |ranker: &Ranker| {
        let mut all = vec![Vec::new(); 2];
        for batch in &batches {
            let mut scores = vec![Vec::new(); 2];
            ranker.score(&batch.select(&[0]), batch, &mut buffers, &mut scores);
            all.iter_mut()
                .zip(scores)
                .for_each(|(all, scores)| all.extend(scores));
        }
        all
    };
    let (single, half) = (score(&single), score(&half));
    for task in 0..2 {
        let labels: Vec<f32> = batches
            .iter()
            .flat_map(|batch| batch.labels[task].clone())
            .collect();
        let aucs = [&single, &half].map(|scores| auc(&labels, &scores[task]).unwrap());
        assert!(aucs[0] > 0.6, "{aucs:?}: a model that learned something");
        assert!((aucs[0] - aucs[1]).abs() < 5e-4, "{aucs:?}");
        assert_ne!(single[task], half[task], "it is another precision");
    }
}

/// Reads the scores of the first task from a CSV file.
fn scores(path: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1);
    rows.map(|row| row.split(',').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn scores_in_half_precision_stay_near_or_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    trained_model(path);
    let score = ["--quiet", "score", "run", "--data", "log/test.csv", "--out"];
    done(path, &[&score[..], &["single.csv"]].concat());
    let half = [&score[..], &["half.csv", "--half"]].concat();
    let serve = ["serve", "run", "--half", "--http-port", "0"];
    if !SimdLevel::best().has_half() {
        let parts = ["--half", "no bfloat16 instructions"];
        trained::refused(path, &half, &parts);
        return trained::refused(path, &serve, &parts);
    }
    done(path, &half);
    let (single, half) = (
        scores(&path.join("single.csv")),
        scores(&path.join("half.csv")),
    );
    let difference = |(a, b): (&f64, &f64)| (a - b).abs();
    let most = single.iter().zip(&half).map(difference).fold(0.0, f64::max);
    println!("{} rows, at most {most:e} apart", single.len());
    assert_eq!(single.len(), half.len());
    assert!(most > 0.0 && most < 1e-2, "{most}");
}

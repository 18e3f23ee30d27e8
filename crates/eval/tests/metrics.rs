//! Metrics against hand-computed values, slow definitions and the reference fixture.

use ncs_eval::{
    Binning, LabelRange, MetricSettings, Metrics, PredictionError, Predictions, Resampling,
    TaskPredictions, auc, auc_interval, calibration_bins, ctcvr_auc, expected_calibration_error,
    grouped_auc, log_loss, predicted_over_observed, soft_auc, squared_error, weighted_auc,
};
use ncs_features::{LabelKind, NO_GROUP};
use proptest::prelude::*;

const UNKNOWN: f32 = f32::NAN;

fn check(actual: Option<f64>, expected: Option<f64>) {
    let is_close = match (actual, expected) {
        (Some(actual), Some(expected)) => (actual - expected).abs() < 1e-12,
        (None, None) => true,
        _ => false,
    };
    assert!(is_close, "{actual:?} is not {expected:?}");
}

#[test]
fn auc_counts_pairs() {
    check(auc(&[0.0, 1.0], &[0.2, 0.7]), Some(1.0));
    check(auc(&[1.0, 0.0], &[0.2, 0.7]), Some(0.0));
    check(
        auc(&[0.0, 1.0, 0.0, 1.0], &[0.1, 0.4, 0.5, 0.9]),
        Some(0.75),
    );
}

#[test]
fn ties_count_one_half() {
    check(auc(&[0.0, 1.0], &[0.5, 0.5]), Some(0.5));
    check(
        auc(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.5, 0.5, 0.9]),
        Some(0.875),
    );
    check(auc(&[0.0, 1.0], &[0.0, -0.0]), Some(0.5));
}

#[test]
fn one_class_or_nan_scores_have_no_auc() {
    check(auc(&[1.0, 1.0], &[0.2, 0.7]), None);
    check(auc::<f32, f32>(&[], &[]), None);
    check(auc(&[0.0, 1.0], &[f32::NAN, 0.7]), None);
}

#[test]
fn rows_of_unknown_label_do_not_count() {
    check(auc(&[0.0, UNKNOWN, 1.0], &[0.2, f32::NAN, 0.7]), Some(1.0));
    check(soft_auc(&[0.0, UNKNOWN, 1.0], &[0.2, 0.9, 0.7]), Some(1.0));
    check(log_loss(&[UNKNOWN, 1.0], &[0.1, 0.5]), Some(2f64.ln()));
    check(
        squared_error(&[UNKNOWN, 0.5], &[0.1, 0.75], LabelRange::Clipped),
        Some(0.0625),
    );
    check(
        predicted_over_observed(&[UNKNOWN, 1.0], &[0.9, 0.5]),
        Some(0.5),
    );
    assert_eq!(
        calibration_bins(&[UNKNOWN, 1.0], &[0.9, 0.5], Binning::EqualCount(2)).len(),
        1
    );
    let grouped = grouped_auc(&[0.0, 1.0, UNKNOWN], &[0.1, 0.2, 0.3], &[1, 1, 1]);
    assert_eq!((grouped.auc, grouped.groups), (Some(1.0), 1));
}

#[test]
fn groups_count_by_their_impressions() {
    // Group 1: three rows, AUC 1/2. Group 2: two rows, AUC 1. Group 3: one class, left out.
    let labels = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    let scores = [0.1, 0.5, 0.9, 0.8, 0.2, 0.4];
    let grouped = grouped_auc(&labels, &scores, &[1, 1, 1, 2, 2, 3]);
    check(grouped.auc, Some((3.0 * 0.5 + 2.0 * 1.0) / 5.0));
    assert_eq!(grouped.groups, 2);
}

#[test]
fn rows_without_a_group_do_not_form_a_group() {
    let labels = [0.0, 1.0, 1.0, 0.0, 1.0];
    let scores = [0.1, 0.5, 0.2, 0.9, 0.3];
    let groups = [1, 1, NO_GROUP, NO_GROUP, NO_GROUP];
    let grouped = grouped_auc(&labels, &scores, &groups);
    assert_eq!((grouped.auc, grouped.groups), (Some(1.0), 1));
    let predictions = Predictions {
        products: Vec::new(),
        tasks: vec![task(
            "click",
            &labels.map(|y| y as f32),
            &scores.map(|p| p as f32),
        )],
        groups: groups.into(),
        funnel: None,
    };
    let metrics = Metrics::of(&predictions, &MetricSettings::default()).unwrap();
    let click = metrics.tasks["click"];
    assert_eq!((click.rows, click.rows_without_group), (5, 3));
    check(click.gauc, Some(1.0));
}

#[test]
fn rows_without_a_group_are_resampled_individually() {
    let (labels, scores, _) = noisy_rows();
    let interval = |groups: &[u64]| {
        let [low, high] = auc_interval(&labels, &scores, groups, &Resampling::default()).unwrap();
        high - low
    };
    let single_rows: Vec<u64> = (0..labels.len() as u64).collect();
    let (own, none) = (
        interval(&single_rows),
        interval(&vec![NO_GROUP; labels.len()]),
    );
    assert!((own / none - 1.0).abs() < 0.25, "{own} {none}");
    // As one group they would be resampled together, and every resample would be the same.
    assert!(none > 0.0);
}

#[test]
fn a_row_without_a_score_is_counted_and_the_others_are_evaluated() {
    let settings = MetricSettings::default();
    let mut predictions = funnel_predictions();
    predictions.tasks[0] = task("click", &[0.0, 1.0, 1.0, 0.0], &[0.25, f32::NAN, 0.75, 0.5]);
    predictions.tasks[0].truths = vec![0.0, 1.0, 1.0, 0.0];
    let metrics = Metrics::of(&predictions, &settings).unwrap();
    let click = metrics.tasks["click"];
    assert_eq!(
        (click.rows, click.positives, click.rows_without_score),
        (3, 1, 1)
    );
    check(click.auc, Some(1.0));
    check(click.auc_entire_space, Some(1.0));
    assert!(click.log_loss.is_some() && click.pcoc.is_some() && click.ece.is_some());
    assert_eq!(metrics.tasks["buy"].rows_without_score, 0);
    assert_eq!(metrics.ctcvr.unwrap().rows, 3);
    assert_eq!(
        predictions.tasks[0]
            .calibration_bins(Binning::EqualCount(3))
            .len(),
        3
    );
}

#[test]
fn constant_scores_are_reported() {
    let constant = |scores: &[f32]| {
        let labels: Vec<f32> = (0..scores.len()).map(|row| (row % 2) as f32).collect();
        task("click", &labels, scores).constant_score()
    };
    assert_eq!(constant(&[0.25; 20]), Some(0.25));
    assert_eq!(constant(&[0.25; 5]), None);
    let mut one_other = [0.25; 20];
    one_other[19] = 0.5;
    assert_eq!(constant(&one_other), None);
    // A row without a label does not count.
    let mut labels = [1.0; 20];
    labels[19] = UNKNOWN;
    assert_eq!(
        task("click", &labels, &one_other).constant_score(),
        Some(0.25)
    );
}

#[test]
fn soft_labels_count_by_their_probability() {
    // Pairs won: .9 x (.9 + .1 / 2) above, .1 x .1 / 2 below... in all .81 + .045 + .045.
    check(soft_auc(&[0.1, 0.9], &[0.2, 0.8]), Some(0.9));
    check(soft_auc(&[0.0, 1.0], &[0.2, 0.8]), Some(1.0));
}

#[test]
fn unclicked_rows_count_as_not_converted() {
    let clicks = [0.0, 1.0, 1.0, 1.0];
    let conversions = [UNKNOWN, 1.0, 0.0, UNKNOWN];
    let p_ctr = [0.9, 0.5, 0.5, 0.9];
    let p_cvr = [0.1, 0.4, 0.3, 0.9];
    // Known: 0 at .09, 1 at .20, 0 at .15; the last row is unknown.
    check(ctcvr_auc(&clicks, &conversions, &p_ctr, &p_cvr), Some(1.0));
}

#[test]
fn log_loss_is_clipped() {
    check(log_loss(&[1.0, 0.0], &[0.5, 0.5]), Some(2f64.ln()));
    check(log_loss(&[1.0f64], &[0.0f64]), Some(-(1e-7f64).ln()));
    check(log_loss::<f32, f32>(&[], &[]), None);
    check(log_loss(&[1.0], &[f32::NAN]), None);
}

#[test]
fn squared_error_uses_positive_labels_clipped_or_unclipped() {
    let (labels, scores) = ([0.0, 0.5, 1.5], [0.9, 0.75, 1.0]);
    check(
        squared_error(&labels, &scores, LabelRange::Clipped),
        Some(0.0625 / 2.0),
    );
    check(
        squared_error(&labels, &scores, LabelRange::Unclipped),
        Some((0.0625 + 0.25) / 2.0),
    );
    check(squared_error(&[0.0], &[0.5], LabelRange::Clipped), None);
}

#[test]
fn predicted_over_observed_compares_sums() {
    check(
        predicted_over_observed(&[1.0, 0.0, 1.0], &[0.5, 0.25, 0.75]),
        Some(0.75),
    );
    check(predicted_over_observed(&[0.0, 0.0], &[0.5, 0.25]), None);
}

#[test]
fn bins_have_equal_counts_and_never_split_a_score() {
    let labels = [0.0, 1.0, 0.0, 1.0];
    let bins = calibration_bins(&labels, &[0.1, 0.3, 0.5, 0.9], Binning::EqualCount(2));
    assert_eq!(bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(), [2, 2]);
    check(Some(bins[0].predicted), Some(0.2));
    check(Some(bins[0].observed), Some(0.5));
    check(
        expected_calibration_error(&bins),
        Some(0.5 * 0.3 + 0.5 * 0.2),
    );

    let tied = calibration_bins(&labels, &[0.4; 4], Binning::EqualCount(4));
    assert_eq!((tied.len(), tied[0].rows, tied[0].observed), (1, 4, 0.5));
}

#[test]
fn equal_width_bins_include_scores_beyond_the_ends() {
    let bins = calibration_bins(&[0.0, 1.0, 1.0], &[-0.5, 1.0, 7.0], Binning::EqualWidth(10));
    assert_eq!(bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn metrics_survive_empty_input() {
    let settings = MetricSettings::default();
    assert_eq!(
        Metrics::of(&Predictions::default(), &settings),
        Ok(Metrics::default())
    );
    let tasks = vec![task("click", &[], &[]), task("buy", &[], &[])];
    let predictions = Predictions {
        products: Vec::new(),
        tasks,
        groups: vec![],
        funnel: Some((0, 1)),
    };
    let metrics = Metrics::of(&predictions, &settings).unwrap();
    assert_eq!(metrics.tasks["buy"], Default::default());
    assert_eq!(metrics.ctcvr, Some(Default::default()));
}

fn task(name: &str, labels: &[f32], scores: &[f32]) -> TaskPredictions {
    TaskPredictions {
        name: name.into(),
        kind: LabelKind::Binary,
        labels: labels.into(),
        scores: scores.into(),
        ..TaskPredictions::default()
    }
}

fn funnel_predictions() -> Predictions {
    let click = task("click", &[0.0, 1.0, 1.0, 0.0], &[0.25, 0.5, 0.75, 0.5]);
    let mut buy = task(
        "buy",
        &[UNKNOWN, 0.0, 1.0, UNKNOWN],
        &[0.5, 0.25, 0.5, 0.75],
    );
    buy.truths = vec![0.0, 0.0, 1.0, 1.0];
    let mut watch = task("watch", &[UNKNOWN, 0.5, 1.5, 0.0], &[0.25, 0.75, 0.5, 0.5]);
    watch.kind = LabelKind::Ratio;
    Predictions {
        products: Vec::new(),
        tasks: vec![click, buy, watch],
        groups: vec![7, 7, 8, 8],
        funnel: Some((0, 1)),
    }
}

#[test]
fn the_json_of_ncs_evaluate() {
    let settings = MetricSettings {
        resampling: Resampling {
            resamples: 0,
            ..Resampling::default()
        },
        ..MetricSettings::default()
    };
    let metrics = Metrics::of(&funnel_predictions(), &settings).unwrap();
    let json = serde_json::to_string_pretty(&metrics).unwrap();
    assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
    insta::assert_snapshot!(json);
}

#[test]
fn columns_of_unequal_length_are_rejected() {
    let mut predictions = funnel_predictions();
    predictions.tasks[1].labels.pop();
    let error = Metrics::of(&predictions, &MetricSettings::default()).unwrap_err();
    insta::assert_snapshot!(error, @r#"task "buy": 3 labels for 4 rows; every column of the predictions needs one entry a row"#);

    let mut predictions = funnel_predictions();
    predictions.funnel = Some((0, 3));
    let error = Metrics::of(&predictions, &MetricSettings::default()).unwrap_err();
    assert_eq!(
        error,
        PredictionError::Funnel {
            index: 3,
            n_tasks: 3
        }
    );
}

/// 2,000 rows in 200 groups whose label follows the score.
fn noisy_rows() -> (Vec<f32>, Vec<f32>, Vec<u64>) {
    let score = |row: u64| (row * 7919 % 2000) as f32 / 2000.0;
    let label = |row: u64| ((row * 104_729 % 1000) as f32 / 1000.0 < score(row)) as u32 as f32;
    let rows = 0..2000;
    (
        rows.clone().map(label).collect(),
        rows.clone().map(score).collect(),
        { rows.map(|row| row / 10).collect() },
    )
}

#[test]
fn the_interval_contains_the_auc_and_is_reproducible() {
    let (labels, scores, groups) = noisy_rows();
    let area = auc(&labels, &scores).unwrap();
    for groups in [&[][..], &groups] {
        let interval = |seed| {
            let resampling = Resampling {
                seed,
                ..Resampling::default()
            };
            auc_interval(&labels, &scores, groups, &resampling).unwrap()
        };
        let [low, high] = interval(1);
        assert!(low < area && area < high, "{area} outside {low}..{high}");
        assert!(high - low < 0.06, "{low}..{high}");
        assert_eq!(interval(1), interval(1));
        assert_ne!(interval(1), interval(2));
    }
}

#[test]
fn the_interval_width_matches_theory() {
    // Hanley and McNeil 1982: the standard error of the AUC.
    let (labels, scores, _) = noisy_rows();
    let a = auc(&labels, &scores).unwrap();
    let positives = labels.iter().sum::<f32>() as f64;
    let negatives = labels.len() as f64 - positives;
    let (q1, q2) = (a / (2.0 - a), 2.0 * a * a / (1.0 + a));
    let variance =
        a * (1.0 - a) + (positives - 1.0) * (q1 - a * a) + (negatives - 1.0) * (q2 - a * a);
    let expected = 2.0 * 1.96 * (variance / (positives * negatives)).sqrt();
    let resampling = Resampling {
        resamples: 1000,
        ..Resampling::default()
    };
    let [low, high] = auc_interval(&labels, &scores, &[], &resampling).unwrap();
    assert!(
        ((high - low) / expected - 1.0).abs() < 0.15,
        "{} is not {expected}",
        high - low
    );
}

#[test]
fn repeated_rows_within_a_group_do_not_narrow_the_interval() {
    let (labels, scores, _) = noisy_rows();
    let four_times = |values: &[f32]| values.repeat(4);
    let groups: Vec<u64> = (0..4).flat_map(|_| 0..2000).collect();
    let width = |labels: &[f32], scores: &[f32], groups: &[u64]| {
        let [low, high] = auc_interval(labels, scores, groups, &Resampling::default()).unwrap();
        high - low
    };
    let (many, many_scores) = (four_times(&labels), four_times(&scores));
    let reference = width(&labels, &scores, &[]);
    assert!(width(&many, &many_scores, &groups) > 0.8 * reference);
    assert!(width(&many, &many_scores, &[]) < 0.6 * reference);
}

#[test]
fn one_group_has_no_interval() {
    let (labels, scores, _) = noisy_rows();
    let interval = |groups: &[u64]| auc_interval(&labels, &scores, groups, &Resampling::default());
    assert_eq!(interval(&vec![7; labels.len()]), None);
    let mut two = vec![7; labels.len()];
    two[0] = 8;
    assert!(interval(&two).is_some());
    assert!(interval(&vec![NO_GROUP; labels.len()]).is_some());
}

#[test]
fn too_few_positives_have_no_interval() {
    check(
        auc_interval(&[1.0, 1.0], &[0.1, 0.2], &[], &Resampling::default()).map(|i| i[0]),
        None,
    );
    let never = Resampling {
        resamples: 0,
        ..Resampling::default()
    };
    assert_eq!(auc_interval(&[0.0, 1.0], &[0.1, 0.2], &[], &never), None);
}

/// Returns the AUC by its definition, over every pair of a positive and a negative row.
fn auc_by_pairs(labels: &[f32], scores: &[f32]) -> Option<f64> {
    let rows = |class: f32| {
        labels
            .iter()
            .zip(scores)
            .filter(move |(label, _)| **label == class)
            .map(|(_, s)| *s)
    };
    let wins = |(p, n): (f32, f32)| match p.total_cmp(&n) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let pairs: Vec<f64> = rows(1.0)
        .flat_map(|p| rows(0.0).map(move |n| wins((p, n))))
        .collect();
    (!pairs.is_empty()).then(|| pairs.iter().sum::<f64>() / pairs.len() as f64)
}

/// Rows of (label, score) with many equal scores.
fn rows() -> impl Strategy<Value = Vec<(f32, f32)>> {
    prop::collection::vec(
        (0..2u8, 0..12i8).prop_map(|(l, s)| (l as f32, s as f32 - 6.0)),
        0..60,
    )
}

proptest! {
    #[test]
    fn auc_matches_its_definition(rows in rows()) {
        let (labels, scores): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
        check(auc(&labels, &scores), auc_by_pairs(&labels, &scores));
    }

    #[test]
    fn auc_is_invariant_under_monotone_maps(rows in rows()) {
        let (labels, scores): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
        let mapped: Vec<f32> = scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
        prop_assert_eq!(auc(&labels, &scores), auc(&labels, &mapped));
    }

    #[test]
    fn integer_weights_equal_repeated_rows(rows in rows(), times in prop::collection::vec(0..4usize, 60)) {
        let weighted = rows.iter().zip(&times);
        let mass = |class: f32| {
            let mass = move |((label, _), times): (&(f32, f32), &usize)| {
                if *label == class { *times as f32 } else { 0.0 }
            };
            weighted.clone().map(mass).collect::<Vec<_>>()
        };
        let scores: Vec<f32> = rows.iter().map(|(_, score)| *score).collect();
        let repeat = |(row, times): (&(f32, f32), &usize)| vec![*row; *times];
        let (labels, repeated): (Vec<f32>, Vec<f32>) = weighted.clone().flat_map(repeat).unzip();
        check(weighted_auc(&mass(1.0), &mass(0.0), &scores), auc(&labels, &repeated));
    }

    #[test]
    fn one_group_gives_the_plain_auc(rows in rows()) {
        let (labels, scores): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
        let grouped = grouped_auc(&labels, &scores, &vec![3; labels.len()]);
        check(grouped.auc, auc(&labels, &scores));
    }

    #[test]
    fn bins_lose_no_row(rows in rows(), n_bins in 1..30usize) {
        let (labels, scores): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
        for binning in [Binning::EqualCount(n_bins), Binning::EqualWidth(n_bins)] {
            let bins = calibration_bins(&labels, &scores, binning);
            prop_assert!(bins.len() <= n_bins);
            prop_assert_eq!(bins.iter().map(|bin| bin.rows).sum::<u64>(), labels.len() as u64);
        }
    }
}

#[derive(serde::Deserialize)]
struct Fixture {
    label: Vec<f64>,
    score: Vec<f64>,
    watch: Vec<f64>,
    watch_pred: Vec<f64>,
    group: Vec<u64>,
    auc: f64,
    wmse_unclipped: f64,
    wmse_clipped: f64,
    gauc_impression_weighted: f64,
    gauc_groups_used: usize,
}

#[test]
fn the_reference_fixture_agrees() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/reference/metrics.json"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: ../shared is absent");
        return;
    };
    let fixture: Fixture = serde_json::from_str(&text).unwrap();
    let error = |range| squared_error(&fixture.watch, &fixture.watch_pred, range);
    let grouped = grouped_auc(&fixture.label, &fixture.score, &fixture.group);
    check(auc(&fixture.label, &fixture.score), Some(fixture.auc));
    check(error(LabelRange::Unclipped), Some(fixture.wmse_unclipped));
    check(error(LabelRange::Clipped), Some(fixture.wmse_clipped));
    check(grouped.auc, Some(fixture.gauc_impression_weighted));
    assert_eq!(grouped.groups, fixture.gauc_groups_used);
}

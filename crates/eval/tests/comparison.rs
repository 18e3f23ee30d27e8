//! Verdicts on methods: correct if there is a difference, rarely wrong if there is none.

#[path = "comparison/pages.rs"]
mod pages;
#[path = "comparison/rng.rs"]
mod rng;
#[path = "comparison/sample.rs"]
mod sample;

use ncs_eval::comparison::{
    Comparison, ComparisonInput, DataInput, FigureKey, MeasuredRun, MethodInput, RowValues, Scope,
    Verdict, row_values,
};
use ncs_eval::{
    LabelRange, MetricSettings, Metrics, Predictions, Resampling, TaskMetrics, TaskPredictions,
    auc, squared_error,
};
use ncs_features::LabelKind;
use rng::Rng;

const REFERENCE: &str = "method_0";

/// A run with only a click AUC.
fn run(seed: u64, area: f64) -> MeasuredRun {
    let task = TaskMetrics {
        rows: 10_000,
        positives: 1000,
        auc: Some(area),
        ..TaskMetrics::default()
    };
    MeasuredRun {
        seed,
        metrics: Metrics {
            tasks: [("click".to_owned(), task)].into_iter().collect(),
            ctcvr: None,
            products: Default::default(),
        },
        ..MeasuredRun::default()
    }
}

/// Methods `method_0`, `method_1`, ... by their runs; the first is the reference.
fn compare(methods: Vec<Vec<MeasuredRun>>) -> Comparison {
    let named = |(at, seeds)| MethodInput {
        name: format!("method_{at}"),
        seeds,
        ..MethodInput::default()
    };
    let data = DataInput {
        name: "log".into(),
        methods: methods.into_iter().enumerate().map(named).collect(),
        ..DataInput::default()
    };
    Comparison::of(ComparisonInput {
        references: vec![REFERENCE.into()],
        data: vec![data],
        ..ComparisonInput::default()
    })
}

fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    let differences = comparison.data[0].differences.iter();
    differences.map(|difference| difference.verdict).collect()
}

fn is_significant(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Better | Verdict::Worse)
}

/// AUCs of `n_methods` equal methods with common seed effects.
fn equal_methods(rng: &mut Rng, n_methods: usize, n_seeds: u64) -> Vec<Vec<f64>> {
    let of_seed: Vec<f64> = rng.normals(n_seeds as usize);
    let method = |_| {
        let area = |seed: &f64| 0.75 + 0.01 * seed + DEVIATION * rng.normal();
        of_seed.iter().map(area).collect()
    };
    (0..n_methods).map(method).collect()
}

const DEVIATION: f64 = 0.002;

fn runs(areas: Vec<f64>) -> Vec<MeasuredRun> {
    let run = |(area, seed)| run(seed, area);
    areas.into_iter().zip(1..).map(run).collect()
}

#[test]
fn a_method_far_above_the_noise_is_better_and_one_below_worse() {
    let mut rng = Rng(1);
    let mut areas = equal_methods(&mut rng, 4, 5);
    areas[1].iter_mut().for_each(|area| *area += 0.02);
    areas[2].iter_mut().for_each(|area| *area -= 0.02);
    let comparison = compare(areas.into_iter().map(runs).collect());
    let expected = [Verdict::Better, Verdict::Worse, Verdict::NotSignificant];
    assert_eq!(verdicts(&comparison), expected);
    let better = &comparison.data[0].differences[0];
    assert!(better.adjusted >= better.difference.p_value);
    assert!(better.difference.estimate.interval.unwrap()[0] > 0.0);
    let sentences = &comparison.data[0].sentences;
    assert!(sentences[0].starts_with("click AUC: better than method_0: method_1 (+0.0"));
    assert!(sentences[1].starts_with("click AUC: worse than method_0: method_2 (-0.0"));
    assert_eq!(
        sentences[2],
        "click AUC: no significant difference from method_0: method_3"
    );
    let counts = comparison.summary.iter();
    let counts: Vec<_> = counts
        .map(|r| (r.better, r.worse, r.not_significant))
        .collect();
    assert_eq!(counts, [(1, 0, 0), (0, 1, 0), (0, 0, 1)]);
}

#[test]
fn a_lower_error_is_better() {
    let ratio = |seed, error| {
        let mut run = run(seed, 0.5);
        let task = run.metrics.tasks.get_mut("click").unwrap();
        (task.auc, task.squared_error) = (None, Some(error));
        run
    };
    let comparison = compare(vec![
        vec![ratio(1, 0.070), ratio(2, 0.071), ratio(3, 0.072)],
        vec![ratio(1, 0.060), ratio(2, 0.061), ratio(3, 0.0621)],
    ]);
    assert_eq!(verdicts(&comparison), [Verdict::Better]);
    assert!(comparison.data[0].chance.is_empty());
}

#[test]
fn equal_methods_are_rarely_called_different() {
    let mut rng = Rng(2);
    let comparison = |_| {
        compare(
            equal_methods(&mut rng, 6, 5)
                .into_iter()
                .map(runs)
                .collect(),
        )
    };
    let wrong = (0..200).map(comparison);
    let wrong = wrong
        .filter(|c| verdicts(c).iter().any(is_significant))
        .count();
    // Of 200, 10 are expected at most; 20 are 3.2 deviations away.
    assert!(wrong <= 20, "{wrong} of 200");
}

#[test]
fn a_difference_of_five_deviations_is_nearly_always_significant() {
    let mut rng = Rng(3);
    let comparison = |_| {
        let mut areas = equal_methods(&mut rng, 6, 5);
        areas[3]
            .iter_mut()
            .for_each(|area| *area += 5.0 * DEVIATION);
        compare(areas.into_iter().map(runs).collect())
    };
    let detected = (0..200).map(comparison);
    let detected = detected
        .filter(|c| verdicts(c)[2] == Verdict::Better)
        .count();
    assert!(detected >= 180, "{detected} of 200");
}

/// Scores of one method: the label, a method effect that is the same for all seeds, and a seed effect. Over new
/// rows all methods are equally good.
fn scores(rng: &mut Rng, labels: &[f64], n_seeds: u64) -> Vec<Vec<f64>> {
    let of_method = rng.normals(labels.len());
    let of_seed = |_| {
        let score = |(label, own): (&f64, &f64)| label + own + 0.2 * rng.normal();
        labels.iter().zip(&of_method).map(score).collect()
    };
    (0..n_seeds).map(of_seed).collect()
}

fn evaluated(labels: &[f64], scores: &[f64], seed: u64, keep_rows: bool) -> MeasuredRun {
    let mut run = run(seed, auc(labels, scores).unwrap());
    let values = RowValues::of_auc(labels, scores).unwrap();
    if keep_rows {
        run.rows.push((FigureKey::of("click", "AUC"), values));
    }
    run
}

/// Compares six equal methods that were evaluated on the same 300 rows.
fn on_common_rows(rng: &mut Rng, keep_rows: bool) -> Comparison {
    let labels: Vec<f64> = (0..300).map(|row| f64::from(row % 3 == 0)).collect();
    let method = |_| {
        let seeds = scores(rng, &labels, 5).into_iter().zip(1..);
        let run = |(scores, seed): (Vec<f64>, u64)| evaluated(&labels, &scores, seed, keep_rows);
        seeds.map(run).collect()
    };
    compare((0..6).map(method).collect())
}

#[test]
fn equal_methods_on_common_rows_are_rarely_called_different() {
    let wrong = |keep_rows: bool| {
        let mut rng = Rng(4);
        let comparisons = (0..200).map(|_| on_common_rows(&mut rng, keep_rows));
        comparisons
            .filter(|c| verdicts(c).iter().any(is_significant))
            .count()
    };
    let with_rows = wrong(true);
    assert!(with_rows <= 20, "{with_rows} of 200");
    // Rows are kept for this reason: a test over seeds alone calls random differences on these rows significant.
    let without = wrong(false);
    assert!(without >= 100, "{without} of 200");
}

#[test]
fn rows_enter_only_if_all_seeds_were_evaluated_on_the_same() {
    let mut rng = Rng(5);
    let scope = |comparison: &Comparison| comparison.data[0].differences[0].scope;
    assert_eq!(scope(&on_common_rows(&mut rng, true)), Scope::SeedsAndRows);
    assert_eq!(scope(&on_common_rows(&mut rng, false)), Scope::Seeds);
    let own_rows = |rng: &mut Rng| {
        let run = |seed: u64| {
            let labels: Vec<f64> = (0..100 + seed).map(|row| (row % 2) as f64).collect();
            evaluated(&labels, &scores(rng, &labels, 1)[0], seed, true)
        };
        (1..=3).map(run).collect::<Vec<_>>()
    };
    let comparison = compare(vec![own_rows(&mut rng), own_rows(&mut rng)]);
    assert_eq!(scope(&comparison), Scope::Seeds);
}

#[test]
fn a_single_seed_gives_no_verdict() {
    let comparison = compare(vec![
        vec![run(1, 0.7)],
        vec![run(1, 0.9)],
        vec![run(1, 0.6)],
    ]);
    assert_eq!(verdicts(&comparison), [Verdict::TooFewSeeds; 2]);
    let data = &comparison.data[0];
    assert!(
        data.chance
            .iter()
            .all(|one| one.verdict == Verdict::TooFewSeeds)
    );
    assert_eq!(
        data.sentences,
        ["no significance test with a single seed: method_1, method_2 against method_0"]
    );
    let without = compare(vec![runs(vec![0.7, 0.8]), vec![run(2, 0.9), run(3, 0.9)]]);
    assert_eq!(
        verdicts(&without),
        [Verdict::TooFewSeeds],
        "one common seed"
    );
}

/// Runs of four seeds whose scores contain the label with weight `signal`.
fn informed(rng: &mut Rng, labels: &[f64], signal: f64) -> Vec<MeasuredRun> {
    let run = |seed| {
        let score = |label: &f64| (signal * label + rng.normal()) as f32;
        let task = TaskPredictions {
            name: "click".into(),
            kind: LabelKind::Binary,
            labels: labels.iter().map(|label| *label as f32).collect(),
            scores: labels.iter().map(score).collect(),
            ..TaskPredictions::default()
        };
        let predictions = Predictions {
            tasks: vec![task],
            ..Predictions::default()
        };
        let settings = MetricSettings {
            resampling: Resampling {
                resamples: 0,
                ..Resampling::default()
            },
            ..MetricSettings::default()
        };
        MeasuredRun {
            seed,
            metrics: Metrics::of(&predictions, &settings).unwrap(),
            rows: row_values(&predictions),
            ..MeasuredRun::default()
        }
    };
    (1..=4).map(run).collect()
}

#[test]
fn noise_is_at_chance_level_and_signal_is_above() {
    let mut rng = Rng(6);
    let labels: Vec<f64> = (0..2000).map(|row| f64::from(row % 10 == 0)).collect();
    let mut against_chance = |signals: [f64; 3]| {
        let comparison = compare(
            signals
                .map(|signal| informed(&mut rng, &labels, signal))
                .into(),
        );
        let data = &comparison.data[0];
        let verdicts: Vec<Verdict> = data.chance.iter().map(|one| one.verdict).collect();
        let sentences = data.sentences.iter().filter(|s| s.contains("chance"));
        (verdicts, sentences.cloned().collect::<Vec<_>>())
    };
    let (verdicts, sentences) = against_chance([0.0; 3]);
    assert_eq!(verdicts, [Verdict::NotSignificant; 3]);
    assert_eq!(
        sentences,
        ["click AUC: not significantly above chance level"]
    );
    let (verdicts, sentences) = against_chance([1.0, 0.0, 1.0]);
    let expected = [Verdict::Better, Verdict::NotSignificant, Verdict::Better];
    assert_eq!(verdicts, expected);
    assert_eq!(
        sentences,
        ["click AUC: not significantly above chance level: method_1"]
    );
    let (verdicts, sentences) = against_chance([1.0; 3]);
    assert_eq!(verdicts, [Verdict::Better; 3]);
    assert!(sentences.is_empty());
}

#[test]
fn noise_is_rarely_called_above_chance_level() {
    let mut rng = Rng(7);
    let labels: Vec<f64> = (0..200).map(|row| f64::from(row % 4 == 0)).collect();
    let comparison = |_| {
        let noise = (0..4).map(|_| informed(&mut rng, &labels, 0.0));
        compare(noise.collect())
    };
    let is_above = |c: &Comparison| {
        c.data[0]
            .chance
            .iter()
            .any(|o| o.verdict == Verdict::Better)
    };
    let wrong = (0..200).map(comparison).filter(is_above).count();
    assert!(wrong <= 20, "{wrong} of 200");
}

/// Labels, some of them unknown, and scores with many ties.
fn tied(rng: &mut Rng, n_rows: usize) -> (Vec<f64>, Vec<f64>) {
    let label = |at: usize| match at % 7 {
        0 => f64::NAN,
        1 | 2 => 1.0,
        _ => 0.0,
    };
    let labels: Vec<f64> = (0..n_rows).map(label).collect();
    let scores = labels.iter().map(|label| {
        let signal = if *label > 0.5 { 0.8 } else { 0.0 };
        ((signal + rng.normal()) * 3.0).round() / 3.0
    });
    (labels.clone(), scores.collect())
}

fn means(values: &RowValues) -> Vec<f64> {
    let mean = |stratum: &Vec<f32>| {
        stratum.iter().copied().map(f64::from).sum::<f64>() / stratum.len() as f64
    };
    values.strata.iter().map(mean).collect()
}

#[test]
fn each_stratum_has_the_figure_as_its_mean() {
    let mut rng = Rng(8);
    for n_rows in [20, 300, 2000] {
        let (labels, scores) = tied(&mut rng, n_rows);
        let area = auc(&labels, &scores).unwrap();
        for mean in means(&RowValues::of_auc(&labels, &scores).unwrap()) {
            assert!((mean - area).abs() < 1e-6, "{mean} is not {area}");
        }
        let error = squared_error(&labels, &scores, LabelRange::Clipped).unwrap();
        let values = RowValues::of_squared_error(&labels, &scores).unwrap();
        assert!((means(&values)[0] - error).abs() < 1e-6);
    }
}

#[test]
fn the_variance_over_rows_matches_a_bootstrap() {
    let mut rng = Rng(9);
    let (labels, scores) = tied(&mut rng, 1000);
    let values = RowValues::of_auc(&labels, &scores).unwrap();
    let parts = values.variance_parts().unwrap();
    let variance: f64 = parts.iter().map(|part| part.variance).sum();
    let mut resampled = |_| {
        let rows = (0..labels.len()).map(|_| {
            let row = (rng.uniform() * labels.len() as f64) as usize;
            row.min(labels.len() - 1)
        });
        let rows: Vec<usize> = rows.collect();
        let pick = |column: &[f64]| rows.iter().map(|row| column[*row]).collect::<Vec<_>>();
        auc(&pick(&labels), &pick(&scores)).unwrap()
    };
    let areas: Vec<f64> = (0..2000).map(&mut resampled).collect();
    let mean = areas.iter().sum::<f64>() / 2000.0;
    let expected = areas.iter().map(|area| (area - mean).powi(2)).sum::<f64>() / 1999.0;
    assert!(
        (variance / expected - 1.0).abs() < 0.15,
        "{variance} is not {expected}"
    );
}

#[test]
fn mean_row_values_equal_the_metrics() {
    let column = |values: &[f32]| values.to_vec();
    let task = |name: &str, kind, labels: &[f32], scores: &[f32]| TaskPredictions {
        name: name.into(),
        kind,
        labels: column(labels),
        scores: column(scores),
        ..TaskPredictions::default()
    };
    let unknown = f32::NAN;
    let predictions = Predictions {
        products: Vec::new(),
        tasks: vec![
            task(
                "click",
                LabelKind::Binary,
                &[1.0, 1.0, 0.0, 1.0, 0.0],
                &[0.9, 0.3, 0.4, 0.8, 0.1],
            ),
            task(
                "buy",
                LabelKind::Binary,
                &[1.0, 0.0, unknown, 0.0, unknown],
                &[0.5, 0.6, 0.2, 0.1, 0.9],
            ),
            task(
                "watched",
                LabelKind::Ratio,
                &[0.5, 1.5, 0.0, 0.2, unknown],
                &[0.4, 0.9, 0.3, 0.3, 0.5],
            ),
            task(
                "spent",
                LabelKind::Value,
                &[0.5, 12.5, -3.0, 0.0, unknown],
                &[0.4, 9.0, 0.25, 0.75, 0.5],
            ),
        ],
        groups: Vec::new(),
        funnel: Some((0, 1)),
    };
    let metrics = Metrics::of(&predictions, &MetricSettings::default()).unwrap();
    let values = row_values(&predictions);
    let names: Vec<String> = values.iter().map(|(key, _)| key.to_string()).collect();
    let expected = [
        "click AUC",
        "buy AUC",
        "watched squared error",
        "spent squared error",
        "CTCVR AUC",
    ];
    assert_eq!(names, expected);
    for (key, values) in &values {
        let figure = key.known().unwrap();
        let figure = (figure.value)(&metrics.of_task(&key.task).unwrap()).unwrap();
        assert!((means(values)[0] - figure).abs() < 1e-6, "{key}");
    }
}

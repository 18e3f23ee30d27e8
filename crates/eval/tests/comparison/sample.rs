//! Sample comparisons.

use crate::rng::Rng;
use ncs_eval::comparison::{
    ComparisonInput, DataInput, MeasuredRun, MethodInput, Published, RunCost, Trial,
};
use ncs_eval::report::{CalibrationCurve, LearningCurve, LearningPoint};
use ncs_eval::{CalibrationBin, FunnelMetrics, LayerSharing, Metrics, TaskMetrics};

/// A method's name, its family, its density, and the difference of its conversion AUC to that of a shared
/// bottom for conflicting and for agreeing tasks.
type Method = (&'static str, Option<&'static str>, f64, [f64; 2]);

const FEW: [Method; 3] = [
    ("single_task", None, 1.0, [0.006, -0.020]),
    ("shared_bottom", None, 1.0, [0.0, 0.0]),
    ("sparse_sharing", Some("magnitude"), 0.4, [0.012, 0.004]),
];

const MANY: [Method; 12] = [
    ("single_task", None, 1.0, [0.010, -0.045]),
    ("shared_bottom", None, 1.0, [0.0, 0.0]),
    ("random_masks", Some("random"), 0.4, [0.004, 0.002]),
    ("random_masks_0.2", Some("random"), 0.2, [0.001, -0.002]),
    ("random_masks_0.8", Some("random"), 0.8, [0.003, 0.001]),
    ("sparse_sharing", Some("magnitude"), 0.4, [0.011, 0.003]),
    (
        "sparse_sharing_0.2",
        Some("magnitude"),
        0.2,
        [-0.008, -0.01],
    ),
    ("sparse_sharing_0.8", Some("magnitude"), 0.8, [0.009, 0.004]),
    ("mmoe", None, 1.0, [0.005, 0.001]),
    ("ple", None, 1.0, [0.006, 0.002]),
    ("esmm", None, 1.0, [-0.015, 0.012]),
    ("cross_stitch", None, 1.0, [0.002, -0.001]),
];

/// Three methods on one data set, small enough to read.
pub(crate) fn small() -> ComparisonInput {
    let mut data = data_set("synthetic_0.5", 0.5, &FEW, 3);
    data.published = vec![
        published(
            "shared_bottom",
            "cvr AUC",
            0.7381,
            "a paper, table 2; other rows",
        ),
        published("esmm", "cvr AUC", 0.746, "a paper | its authors' split"),
    ];
    let sparse = &mut data.methods[2];
    sparse.trials = [0.2, 0.4]
        .map(|density| trial("sparse_sharing", density))
        .into();
    sparse.picked = Some(1);
    comparison(vec![data])
}

/// Many methods on a series of data sets, for viewing.
pub(crate) fn large() -> ComparisonInput {
    let data_set = |share: f64| data_set(&format!("synthetic_{share}"), share, &MANY, 5);
    comparison([0.0, 0.25, 0.5, 0.75, 1.0].map(data_set).into())
}

fn comparison(data: Vec<DataInput>) -> ComparisonInput {
    ComparisonInput {
        title: "Comparison of sharing methods".into(),
        command: "ncs compare compare.toml --out compared".into(),
        protocol: vec![
            "Settings were chosen on validation rows, with the same number of trials for each method.".into(),
            "Test rows were scored once.".into(),
        ],
        references: ["single_task", "shared_bottom"].map(String::from).into(),
        data,
        ..ComparisonInput::default()
    }
}

fn published(method: &str, figure: &str, value: f64, source: &str) -> Published {
    Published {
        method: method.into(),
        figure: figure.into(),
        value,
        source: source.into(),
    }
}

fn trial(method: &str, density: f64) -> Trial {
    Trial {
        settings: vec![format!("search.density={density}")],
        validation: Some(0.7 + 0.1 * density),
        folder: format!("runs/trials/{method}-{density}"),
    }
}

fn data_set(name: &str, share: f64, methods: &[Method], n_seeds: u64) -> DataInput {
    let mut rng = Rng((100.0 * share) as u64);
    let of_seeds = rng.normals(n_seeds as usize);
    let method = |method: &Method| self::method(name, share, method, &of_seeds, &mut rng);
    DataInput {
        name: name.into(),
        about: format!("A synthetic log of 60,000 test rows; share {share}."),
        command: format!("ncs compare compare.toml --out compared --data {name}"),
        share: Some(share),
        group: Some("synthetic".into()),
        published: Vec::new(),
        methods: methods.iter().map(method).collect(),
    }
}

fn method(
    data: &str,
    share: f64,
    (name, family, density, gains): &Method,
    of_seeds: &[f64],
    rng: &mut Rng,
) -> MethodInput {
    let gain = gains[0] + share * (gains[1] - gains[0]);
    let mut run = |(of_seed, seed): (&f64, u64)| MeasuredRun {
        seed,
        folder: format!("runs/{data}/{name}/seed-{seed}"),
        metrics: metrics(gain, *of_seed, rng),
        cost: cost(*density, family.is_some()),
        densities: match family {
            Some(_) => vec![("ctr".into(), *density), ("cvr".into(), 0.9 * density)],
            None => Vec::new(),
        },
        sharing: match family {
            Some(_) => vec![
                layer("fc_0", 720, 512, *density),
                layer("fc_1", 512, 256, *density),
            ],
            None => Vec::new(),
        },
        learning: ["ctr", "cvr"].map(|task| learning(task, gain)).into(),
        calibration: vec![calibration(gain)],
        rows: Vec::new(),
    };
    MethodInput {
        name: (*name).into(),
        about: format!("Description of {name} in one sentence."),
        settings: vec![
            format!("network.kind={name}"),
            format!("search.density={density}"),
        ],
        family: family.map(String::from),
        seeds: of_seeds.iter().zip(1..).map(&mut run).collect(),
        ..MethodInput::default()
    }
}

fn metrics(gain: f64, of_seed: f64, rng: &mut Rng) -> Metrics {
    let mut area =
        |level: f64, gain: f64| Some(level + gain + 0.004 * of_seed + 0.001 * rng.normal());
    let ctr = TaskMetrics {
        rows: 60_000,
        positives: 6000,
        auc: area(0.78, 0.2 * gain),
        log_loss: Some(0.29 - 0.3 * gain),
        pcoc: Some(1.01 - gain),
        ece: Some(0.004),
        ..TaskMetrics::default()
    };
    let cvr = TaskMetrics {
        rows: 6000,
        positives: 300,
        auc: area(0.735, gain),
        auc_entire_space: area(0.74, 1.2 * gain),
        log_loss: Some(0.19 - 0.3 * gain),
        pcoc: Some(1.1 - gain),
        ece: Some(0.012),
        ..TaskMetrics::default()
    };
    let ctcvr = FunnelMetrics {
        rows: 60_000,
        positives: 300,
        auc: area(0.81, 0.8 * gain),
        auc_interval: None,
    };
    Metrics {
        tasks: [("ctr".to_owned(), ctr), ("cvr".to_owned(), cvr)]
            .into_iter()
            .collect(),
        ctcvr: Some(ctcvr),
        products: Default::default(),
    }
}

fn cost(density: f64, is_searched: bool) -> RunCost {
    RunCost {
        trainings: if is_searched { 9 } else { 1 },
        samples: if is_searched { 810_000 } else { 180_000 },
        seconds: if is_searched { 61.2 } else { 14.3 },
        peak_bytes: 210 << 20,
        parameters: 1_480_961,
        weights: (499_712.0 * density) as u64,
        multiply_adds: (999_424.0 * density) as u64,
    }
}

fn layer(name: &str, inputs: usize, outputs: usize, density: f64) -> LayerSharing {
    let connections = (inputs * outputs) as f64;
    let part = |share: f64| (connections * density * share) as u64;
    let (shared, only) = (part(0.5), vec![part(0.3), part(0.2)]);
    LayerSharing {
        by_all: None,
        name: name.into(),
        inputs,
        outputs,
        pruned: (inputs * outputs) as u64 - shared - only.iter().sum::<u64>(),
        shared,
        only,
        own_units: Vec::new(),
    }
}

fn learning(task: &str, gain: f64) -> LearningCurve {
    let point = |epoch: u32| {
        let reached = 1.0 - (-f64::from(epoch) / 2.0).exp();
        LearningPoint {
            position: f64::from(epoch),
            train_loss: Some(0.42 - 0.15 * reached),
            validation_loss: Some(0.43 - 0.13 * reached - gain),
            validation_metric: Some(0.55 + 0.23 * reached + gain),
        }
    };
    LearningCurve {
        task: task.into(),
        network: "network name in the run".into(),
        position_name: "epoch".into(),
        metric_name: "AUC".into(),
        points: (1..=6).map(point).collect(),
        picked: Some(3),
    }
}

fn calibration(gain: f64) -> CalibrationCurve {
    let bin = |at: u32| {
        let predicted = 0.01 + 0.0015 * f64::from(at * at);
        CalibrationBin {
            predicted,
            observed: predicted * (1.0 + 10.0 * gain),
            rows: 600,
            weight: None,
        }
    };
    CalibrationCurve {
        task: "cvr".into(),
        network: "network name in the run".into(),
        bins: (0..10).map(bin).collect(),
    }
}

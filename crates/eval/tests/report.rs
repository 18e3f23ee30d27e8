//! A report rendered as text and as HTML.

use indexmap::IndexMap;
use ncs_eval::report::{
    CalibrationCurve, ColumnSummary, DataFile, DataPart, DataSummary, InputRow, InputTable,
    LabelSummary, LearningCurve, LearningPoint, Note, ResultTable, RunReport, SearchCurve,
    SearchRound, SharingPicture,
};
use ncs_eval::{
    CalibrationBin, FunnelMetrics, LayerSharing, Metrics, TaskMetrics, render_html, render_text,
    text_table,
};

const NETWORKS: [&str; 3] = ["sparse_sharing", "shared_bottom", "single_task"];

/// A sample report.
fn sample() -> RunReport {
    RunReport {
        gains: Vec::new(),
        slices: Vec::new(),
        importance: None,
        costs: Vec::new(),
        title: "Subnetworks for click and buy".into(),
        subtitle: "examples/quickstart.toml, seed 7, 140,000 synthetic impressions".into(),
        notes: vec![
            Note {
                warning: false,
                text: "One seed: intervals are over users.".into(),
            },
            Note {
                warning: true,
                text: "buy has 92 positive rows in <validation>.".into(),
            },
        ],
        results: vec![ResultTable::of_metrics("Test rows", &NETWORKS.map(metrics))],
        sharing: vec![sharing()],
        search: vec![search("click", 0.781, 0.012), search("buy", 0.702, -0.03)],
        learning: NETWORKS
            .iter()
            .flat_map(|n| ["click", "buy"].map(|t| learning(n, t)))
            .collect(),
        calibration: calibration_curves(),
        data: data(),
        columns: vec![],
        settings: settings(),
        features: vec![ColumnSummary {
            name: "item".into(),
            column: "item_id".into(),
            kind: "categorical".into(),
            ids: "vocabulary".into(),
            table_rows: 10_002,
        }],
        inputs: vec![InputTable {
            network: "sparse_sharing".into(),
            tasks: vec!["click".into(), "buy".into()],
            rows: vec![InputRow {
                name: "item".into(),
                kept: vec![0.25, 0.125],
                shared: 0.0625,
            }],
        }],
        version: "ncs 0.1.0".into(),
        seconds: Some(200.0),
    }
}

#[test]
fn files_columns_inputs_version_and_time_are_shown() {
    let report = sample();
    let (text, page) = (render_text(&report), render_html(&report));
    for part in [
        "ncs 0.1.0, took 3 min 20 s",
        "day=1/part-0.parquet",
        "100,000",
        "item_id",
        "categorical",
        "10,002",
        "0.250",
        "0.125",
        "0.062",
    ] {
        assert!(text.contains(part), "{part}: {text}");
        assert!(page.contains(part), "{part}");
    }
    let stored = serde_json::to_string(&report).unwrap();
    assert!(
        !stored.contains("seconds"),
        "identical runs store identical reports"
    );
}

#[test]
fn a_report_of_an_earlier_version_can_be_read() {
    let mut stored = serde_json::to_value(sample()).unwrap();
    let object = stored.as_object_mut().unwrap();
    for newer in ["features", "inputs", "version"] {
        object.remove(newer).unwrap();
    }
    object["data"]
        .as_object_mut()
        .unwrap()
        .remove("files")
        .unwrap();
    let report: RunReport = serde_json::from_value(stored).unwrap();
    assert_eq!(report.title, sample().title);
    assert_eq!(report.features, []);
}

fn metrics(network: &str) -> (String, Metrics) {
    let shift = 0.0031 * NETWORKS.iter().position(|name| *name == network).unwrap() as f64;
    let task = |rows, positives, auc: f64, half: f64| TaskMetrics {
        rows,
        positives,
        auc: Some(auc - shift),
        auc_interval: Some([auc - shift - half, auc - shift + half]),
        gauc: Some(auc - shift - 0.0132),
        gauc_groups: Some(812),
        log_loss: Some(0.2871 + shift),
        pcoc: Some(1.013 - shift),
        ece: Some(0.0042 + shift / 3.0),
        ..TaskMetrics::default()
    };
    let buy = TaskMetrics {
        auc_entire_space: Some(0.7712 + shift),
        ..task(2104, 92, 0.7421, 0.021)
    };
    let tasks = [("click", task(20_480, 2104, 0.7865, 0.0049)), ("buy", buy)];
    let tasks: IndexMap<_, _> = tasks
        .map(|(name, metrics)| (name.to_string(), metrics))
        .into();
    let ctcvr = FunnelMetrics {
        rows: 20_480,
        positives: 92,
        auc: Some(0.8123 - shift),
        auc_interval: Some([0.7931 - shift, 0.8302 - shift]),
    };
    (
        network.to_string(),
        Metrics {
            tasks,
            ctcvr: Some(ctcvr),
            products: Default::default(),
        },
    )
}

fn sharing() -> SharingPicture {
    let layer = |name: &str, inputs, outputs, shared, only: [u64; 2]| LayerSharing {
        by_all: None,
        name: name.into(),
        inputs,
        outputs,
        shared,
        only: only.into(),
        pruned: (inputs * outputs) as u64 - shared - only[0] - only[1],
        own_units: Vec::new(),
    };
    SharingPicture {
        pairs: Vec::new(),
        network: "sparse_sharing".into(),
        tasks: vec!["click".into(), "buy".into()],
        layers: vec![
            layer("fc_0", 720, 512, 52_310, [71_022, 30_117]),
            layer("fc_1", 512, 256, 33_871, [18_330, 9120]),
            layer("fc_2", 256, 128, 17_010, [3010, 901]),
        ],
        remarks: Vec::new(),
    }
}

fn search(task: &str, start: f64, decline: f64) -> SearchCurve {
    let round = |at: i32| SearchRound {
        density: 0.6687f64.powi(at),
        validation_metric: Some(start + decline * at as f64 - 0.004 * (at * at) as f64),
    };
    let rounds = (0..5).map(round).collect();
    SearchCurve {
        task: task.into(),
        metric_name: "AUC".into(),
        rounds,
        picked: Some(1),
    }
}

fn learning(network: &str, task: &str) -> LearningCurve {
    let lag = 1.0 + NETWORKS.iter().position(|name| *name == network).unwrap() as f64 / 4.0;
    let point = |at: u32| {
        let reached = 1.0 - (-(at as f64) / (2.0 * lag)).exp();
        LearningPoint {
            position: at as f64,
            train_loss: Some(0.42 - 0.15 * reached),
            validation_loss: Some(0.43 - 0.13 * reached + 0.002 * at as f64),
            validation_metric: Some(0.55 + 0.23 * reached - 0.004 * at as f64),
        }
    };
    LearningCurve {
        task: task.into(),
        network: network.into(),
        position_name: "epoch".into(),
        metric_name: "AUC".into(),
        points: (1..=10).map(point).collect(),
        picked: Some(6),
    }
}

fn calibration_curves() -> Vec<CalibrationCurve> {
    let bin = |at: u32, ratio: f64| {
        let predicted = 0.01 + 0.0009 * (at * at) as f64;
        let wave = 1.0 + 0.2 * (at as f64 * 1.7).sin();
        CalibrationBin {
            predicted,
            observed: predicted * ratio * wave,
            rows: 1024,
            weight: None,
        }
    };
    let curve = |network: &str, ratio: f64| CalibrationCurve {
        task: "click".into(),
        network: network.into(),
        bins: (0..20).map(|at| bin(at, ratio)).collect(),
    };
    vec![
        curve(NETWORKS[0], 1.0),
        curve(NETWORKS[1], 0.8),
        curve(NETWORKS[2], 1.15),
    ]
}

fn data() -> DataSummary {
    let part = |name: &str, rows, clicks, buys| DataPart {
        name: name.into(),
        rows,
        labels: vec![
            LabelSummary {
                known: rows,
                rate: Some(clicks as f64 / rows as f64),
            },
            LabelSummary {
                known: clicks,
                rate: Some(buys as f64 / clicks as f64),
            },
        ],
    };
    DataSummary {
        tasks: vec!["click".into(), "buy".into()],
        parts: vec![
            part("train", 112_000, 11_402, 409),
            part("test", 20_480, 2104, 92),
        ],
        files: vec![DataFile {
            part: "train".into(),
            path: "logs/day=1/part-0.parquet".into(),
            rows: 100_000,
        }],
    }
}

fn settings() -> Vec<(String, String)> {
    let setting = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
    let settings = [
        ("network.hidden", "512, 256, 128"),
        ("network.dimension", "16"),
        ("search.rounds", "4"),
        ("search.density", "click 0.2, buy 0.2"),
        ("training.batch_rows", "4096"),
        ("training.learning_rate", "0.0001"),
        ("seed", "7"),
    ];
    settings.map(setting).to_vec()
}

#[test]
fn tables_are_aligned() {
    let rows = [["click", "0.7865", "1,024"], ["観る", "–", "7"]];
    let rows = rows.map(|row| row.map(String::from).to_vec());
    insta::assert_snapshot!(text_table(&["task", "AUC", "rows"], &rows), @"
    task      AUC   rows
    ─────  ──────  ─────
    click  0.7865  1,024
    観る        –      7
    ");
}

#[test]
fn short_rows_and_empty_tables_are_rendered() {
    let rows = [vec!["a".to_string()]];
    insta::assert_snapshot!(text_table(&["name", "n"], &rows), @"
    name  n
    ────  ─
    a
    ");
    insta::assert_snapshot!(text_table(&["name", "n"], &[]), @"
    name  n
    ────  ─
    ");
}

#[test]
fn the_text_report() {
    insta::assert_snapshot!(render_text(&sample()));
}

#[test]
fn the_page_is_self_contained() {
    let page = render_html(&sample());
    for reference in [
        "http:", "https:", "src=", "href=", "@import", "<script", "<link", "//",
    ] {
        assert!(!page.contains(reference), "{reference} in the page");
    }
    let urls = page.match_indices("url(").map(|(at, _)| &page[at..at + 5]);
    assert!(
        urls.clone().all(|url| url == "url(#"),
        "{:?}",
        urls.collect::<Vec<_>>()
    );
    // To view the page: NCS_SAMPLE_REPORT=page.html cargo test -p ncs-eval
    if let Ok(path) = std::env::var("NCS_SAMPLE_REPORT") {
        std::fs::write(path, page).unwrap();
    }
}

#[test]
fn the_page_has_every_section() {
    let page = render_html(&sample());
    let parts = [
        "Results",
        "Sharing by layer",
        "Mask search",
        "Learning curves",
        "Calibration",
    ];
    for part in parts.iter().chain(&["Data", "Settings"]) {
        assert!(page.contains(&format!("<h2>{part}</h2>")), "no {part}");
    }
    assert!(
        page.contains("92 positive rows in &lt;validation&gt;."),
        "text is escaped"
    );
    assert!(page.contains("fc_0"));
    assert!(
        !page.contains("NaN") && !page.contains("inf"),
        "a coordinate is not a number"
    );
}

#[test]
fn an_empty_report_is_rendered() {
    let page = render_html(&RunReport::default());
    assert!(page.contains("<main>") && !page.contains("<h2>"));
    assert_eq!(render_text(&RunReport::default()), "");
}

#[test]
fn curves_without_finite_values_are_rendered() {
    let mut report = sample();
    for point in report
        .learning
        .iter_mut()
        .flat_map(|curve| &mut curve.points)
    {
        point.train_loss = Some(f64::NAN);
        point.validation_loss = None;
        point.validation_metric = Some(f64::INFINITY);
    }
    report.search[0].picked = Some(99);
    report.sharing[0].layers.push(LayerSharing::default());
    let page = render_html(&report);
    assert!(page.contains("No finite values to draw."));
    assert!(!page.contains("NaN"), "a coordinate is not a number");
}

#[test]
fn a_report_survives_its_json() {
    let stored = RunReport {
        seconds: None,
        ..sample()
    };
    let json = serde_json::to_string(&sample()).unwrap();
    let read: RunReport = serde_json::from_str(&json).unwrap();
    assert!(read == stored, "another report came back from {json}");
}

#[test]
fn the_best_of_each_task_is_marked() {
    let table = ResultTable::of_metrics("", &NETWORKS.map(metrics));
    let column = |name: &str| table.columns.iter().position(|c| c.name == name).unwrap();
    let best = |column| {
        (0..3)
            .filter(|row| table.is_best(*row, column))
            .collect::<Vec<_>>()
    };
    assert_eq!(best(column("AUC")), [0]);
    assert_eq!(best(column("log-loss")), [0]);
    assert!(best(column("rows")).is_empty());
    assert_eq!(table.rows[3].task, "buy");
    assert_eq!(table.rows.last().unwrap().task, "CTCVR");
}

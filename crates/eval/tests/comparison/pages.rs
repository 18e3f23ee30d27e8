//! A comparison rendered as Markdown and as HTML, and stored as JSON.

use crate::sample;
use ncs_eval::comparison::{Comparison, ComparisonInput, DataInput, MeasuredRun, MethodInput};
use ncs_eval::{comparison_markdown, render_comparison_html};

#[test]
fn the_markdown_of_a_small_comparison() {
    insta::assert_snapshot!(comparison_markdown(&Comparison::of(sample::small())));
}

#[test]
fn a_comparison_survives_its_json() {
    let comparison = Comparison::of(sample::small());
    let json = serde_json::to_string(&comparison).unwrap();
    assert_eq!(
        serde_json::from_str::<Comparison>(&json).unwrap(),
        comparison
    );
}

#[test]
fn the_page_has_every_chart_and_links_to_every_run() {
    let input = ComparisonInput {
        data: [sample::large().data, sample::small().data].concat(),
        ..sample::large()
    };
    let page = render_comparison_html(&Comparison::of(input.clone()));
    let titles = [
        "Summary",
        "From conflict to agreement: synthetic",
        "cvr AUC: difference to single_task",
        "CTCVR AUC: difference to shared_bottom",
        "synthetic_0.25: cvr AUC over density",
        "synthetic_0.25: cvr entire-space AUC over density",
        "Differences to shared_bottom",
        "Sharing by layer, first seed",
        "cvr: calibration",
        "ctr: loss",
        "synthetic_0.5: published and measured figures",
        "synthetic_0.5: trials",
    ];
    for title in titles {
        assert!(page.contains(&format!(">{title}<")), "no {title}");
    }
    for folder in folders(&input) {
        assert!(
            page.contains(&format!("href=\"{folder}\"")),
            "no link to {folder}"
        );
    }
    assert!(
        !page.contains("NaN") && !page.contains("inf"),
        "a coordinate is not a number"
    );
    // To view the page: NCS_SAMPLE_COMPARISON=page.html cargo test -p ncs-eval
    if let Ok(path) = std::env::var("NCS_SAMPLE_COMPARISON") {
        std::fs::write(path, page).unwrap();
    }
}

fn folders(input: &ComparisonInput) -> Vec<String> {
    let methods = || input.data.iter().flat_map(|data| &data.methods);
    let runs = methods()
        .flat_map(|method| &method.seeds)
        .map(|run| &run.folder);
    let trials = methods()
        .flat_map(|method| &method.trials)
        .map(|trial| &trial.folder);
    runs.chain(trials).cloned().collect()
}

#[test]
fn comparisons_with_little_data_are_rendered() {
    let empty = Comparison::of(ComparisonInput::default());
    assert!(render_comparison_html(&empty).contains("<main>"));
    let method = MethodInput {
        name: "alone".into(),
        seeds: vec![MeasuredRun::default()],
        ..MethodInput::default()
    };
    let data = DataInput {
        name: "log".into(),
        methods: vec![method, MethodInput::default()],
        share: Some(0.5),
        group: Some("logs".into()),
        ..DataInput::default()
    };
    let sparse = Comparison::of(ComparisonInput {
        references: vec!["absent".into(), "alone".into()],
        data: vec![data],
        ..ComparisonInput::default()
    });
    let page = render_comparison_html(&sparse);
    assert!(!page.contains("NaN") && page.contains("log: runs"));
    assert!(comparison_markdown(&sparse).contains("## log"));
}

#[test]
fn text_is_escaped() {
    let mut input = sample::small();
    input.data[0].methods[0].about = "<b> & a | b".into();
    input.data[0].methods[0].seeds[0].folder = "my runs/#1?".into();
    let comparison = Comparison::of(input);
    assert!(render_comparison_html(&comparison).contains("&lt;b&gt; &amp; a | b"));
    assert!(render_comparison_html(&comparison).contains("href=\"my%20runs/%231%3F\""));
    assert!(comparison_markdown(&comparison).contains("<b> & a \\| b"));
}

//! A little of what `ncs-fuzz` does for hours: the seeds of every target and some inputs out of them.

use ncs_fuzz::drive::{Plan, run};
use ncs_fuzz::growth::{self, exponent, measure};
use ncs_fuzz::targets::named;

#[track_caller]
fn check(name: &str, fewest_accepted: u64) {
    let target = named(name).expect("a target");
    let plan = Plan {
        inputs: 2000,
        seed: 7,
        shrinks: false,
    };
    let figures = run(&target, plan, |_| (), |_| ());
    assert!(figures.failures.is_empty(), "{:#?}", figures.failures);
    assert!(figures.accepted >= fewest_accepted, "{figures:?}");
    assert!(figures.refusals >= 3, "{figures:?}");
}

#[test]
fn rank_bodies_are_answered_or_refused() {
    check("rank_json", 20);
    check("rank_proto", 20);
}

#[test]
fn infer_bodies_are_answered_or_refused() {
    check("infer_json", 20);
    check("infer_proto", 20);
    check("tensors", 20);
}

#[test]
fn encoded_bodies_are_read_or_refused() {
    check("body", 20);
}

#[test]
fn labels_are_read_or_refused() {
    check("labels", 20);
}

#[test]
fn models_are_read_or_refused() {
    check("artifact", 20);
}

#[test]
fn files_of_rows_are_read_or_refused() {
    check("csv", 20);
    check("json_lines", 20);
    check("parquet", 20);
    check("tfrecord", 20);
}

/// What is allocated is the same in every run; time is not, and shows by `ncs-fuzz growth`.
#[test]
fn what_is_allocated_grows_as_the_input_does() {
    for kind in &growth::ALL {
        let sizes = [kind.smallest / 5, kind.smallest];
        let costs = sizes.map(|n| measure(kind, n, 1).unwrap().allocated as f64);
        let power = exponent(sizes, costs);
        assert!(power < 1.3, "{}: {costs:?}, power {power}", kind.name);
    }
    assert_eq!(exponent([10, 20], [3.0, 12.0]), 2.0);
}

//! Runs the seeds of every target and a few thousand generated inputs.

use ncs_fuzz::drive::{Plan, run};
use ncs_fuzz::growth::{self, exponent, measure};
use ncs_fuzz::targets::named;

#[track_caller]
fn check(name: &str, min_accepted: u64) {
    let target = named(name).expect("a target");
    let plan = Plan {
        inputs: 2000,
        seed: 7,
        shrink: false,
    };
    let statistics = run(&target, plan, |_| (), |_| ());
    assert!(statistics.failures.is_empty(), "{:#?}", statistics.failures);
    assert!(statistics.accepted >= min_accepted, "{statistics:?}");
    assert!(statistics.errors >= 3, "{statistics:?}");
}

#[test]
fn rank_bodies_are_accepted_or_rejected() {
    check("rank_json", 20);
    check("rank_proto", 20);
}

#[test]
fn infer_bodies_are_accepted_or_rejected() {
    check("infer_json", 20);
    check("infer_proto", 20);
    check("tensors", 20);
}

#[test]
fn encoded_bodies_are_read_or_rejected() {
    check("body", 20);
}

#[test]
fn labels_are_read_or_rejected() {
    check("labels", 20);
}

#[test]
fn models_are_read_or_rejected() {
    check("artifact", 20);
}

#[test]
fn files_of_rows_are_read_or_rejected() {
    check("csv", 20);
    check("json_lines", 20);
    check("parquet", 20);
    check("tfrecord", 20);
}

/// Allocated memory is the same in every run, unlike time, which `ncs-fuzz growth` measures.
#[test]
fn allocated_memory_is_linear_in_the_size_of_the_input() {
    for kind in &growth::ALL {
        let sizes = [kind.smallest / 5, kind.smallest];
        let costs = sizes.map(|n| measure(kind, n, 1).unwrap().allocated as f64);
        let power = exponent(sizes, costs);
        assert!(power < 1.3, "{}: {costs:?}, power {power}", kind.name);
    }
    assert_eq!(exponent([10, 20], [3.0, 12.0]), 2.0);
}

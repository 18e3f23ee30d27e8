//! What was known of rows, and which samples they are.

use super::*;

fn rules(method: LateMethod) -> LateRules {
    LateRules {
        click_time: "click_time".into(),
        conversion_time: "conversion_time".into(),
        window: 1.0,
        as_of: 0.0,
        since: None,
        method,
        elapsed: 0.0,
        borrowed: 0.0,
        by: None,
        delays: Delays::default(),
        delays_of: BTreeMap::new(),
    }
}

#[test]
fn a_value_with_enough_delays_has_a_distribution_of_its_own() {
    let mut rules = LateRules {
        by: Some("delivery".into()),
        ..rules(LateMethod::DelayDistribution)
    };
    let mut delays = DelaySample::default();
    (0..50).for_each(|_| delays.add("fast", 0.125));
    (0..49).for_each(|_| delays.add("slow", 0.875));
    rules.fit(delays);
    let known = |value| rules.share_known(value, 0.5);
    assert_eq!(known("fast"), 1.0);
    assert!((known("slow") - known("other")).abs() < 1e-12 && known("slow") < 0.6);
}

#[test]
fn a_label_is_what_was_known() {
    let check =
        |method, label: f32, delay: f32, age: f32, training: Option<f32>, valid: Option<f32>| {
            for (is_training, expected) in [(true, training), (false, valid)] {
                let found = rules(method).known(label, delay, age, is_training);
                assert_eq!(
                    (!found.is_nan()).then_some(found),
                    expected,
                    "{method:?} {age}"
                );
            }
        };
    let none = f32::NAN;
    for method in [LateMethod::Wait, LateMethod::AsNegatives, LateMethod::Fnw] {
        check(method, 1.0, 0.7, 1.0, Some(1.0), Some(1.0));
        check(method, 0.0, none, 3.0, Some(0.0), Some(0.0));
        // A click after the moment, and a row outside the population.
        check(method, 1.0, 0.7, -0.1, None, None);
        check(method, none, none, 2.0, None, None);
    }
    check(LateMethod::Wait, 1.0, 0.2, 0.9, None, None);
    check(LateMethod::AsNegatives, 1.0, 0.2, 0.9, Some(1.0), None);
    check(LateMethod::AsNegatives, 1.0, 0.7, 0.5, Some(0.0), None);
    check(LateMethod::Oracle, 1.0, 0.7, 0.5, Some(1.0), None);
    check(
        LateMethod::DelayDistribution,
        0.0,
        none,
        0.5,
        Some(0.0),
        None,
    );
    let es_dfm = LateRules {
        elapsed: 0.25,
        ..rules(LateMethod::EsDfm)
    };
    assert!(es_dfm.known(1.0, 0.1, 0.2, true).is_nan());
    assert_eq!(es_dfm.known(1.0, 0.1, 0.3, true), 1.0);
    assert!(es_dfm.known(1.0, 0.1, 0.3, false).is_nan());
}

#[test]
fn a_row_is_a_sample_when_it_would_have_come() {
    let check = |method, label: f32, delay: f32, age: f32, negatives: f64, positives: f64| {
        let rules = LateRules {
            elapsed: if method == LateMethod::Fnc { 0.0 } else { 0.25 },
            borrowed: 0.5,
            ..rules(method)
        };
        let expected = Samples {
            negatives,
            positives,
        };
        let found = rules.samples(label, delay, age);
        assert_eq!(found, expected, "{method:?} {label} {delay} {age}");
    };
    use LateMethod::{Defer, EsDfm, Fnc};
    let none = f32::NAN;
    // Old rows have all their samples, and lend none.
    check(Fnc, 1.0, 0.0, 3.0, 1.0, 1.0);
    check(Fnc, 0.0, none, 3.0, 1.0, 0.0);
    check(EsDfm, 1.0, 0.2, 3.0, 0.0, 1.0);
    check(EsDfm, 1.0, 0.6, 3.0, 1.0, 1.0);
    check(EsDfm, 0.0, none, 3.0, 1.0, 0.0);
    check(Defer, 1.0, 0.2, 3.0, 0.0, 2.0);
    check(Defer, 1.0, 0.6, 3.0, 1.0, 1.0);
    check(Defer, 0.0, none, 3.0, 2.0, 0.0);
    // Of young rows a second sample may be missing.
    check(EsDfm, 0.0, none, 0.5, 1.0, 0.0);
    check(EsDfm, 1.0, 0.4, 0.5, 1.0, 1.0);
    check(Defer, 0.0, none, 0.5, 1.0, 0.0);
    check(Defer, 1.0, 0.1, 0.5, 0.0, 2.0);
    // A row of age 1.25 stands for one of 0.5 (0.25 for fake negatives).
    check(EsDfm, 1.0, 0.6, 1.25, 1.0, 1.5);
    check(EsDfm, 1.0, 0.4, 1.25, 1.0, 1.0);
    check(Fnc, 1.0, 0.4, 1.25, 1.0, 1.5);
    check(Defer, 0.0, none, 1.25, 2.5, 0.0);
    check(Defer, 1.0, 0.6, 1.25, 1.0, 1.5);
    check(Defer, 1.0, 0.2, 1.25, 0.0, 2.0);
}

#[test]
fn the_window_before_the_last_lends_by_its_rows() {
    let mut es_dfm = LateRules {
        elapsed: 0.25,
        ..rules(LateMethod::EsDfm)
    };
    let mut sample = DelaySample::default();
    let ages = [0.1, 0.3, 0.9, 1.0, 1.2, 1.5, 1.6];
    ages.iter().for_each(|&age| sample.see(&es_dfm, age));
    assert!(sample.is_short(&es_dfm));
    sample.see(&es_dfm, 1.75);
    assert!(!sample.is_short(&es_dfm));
    assert!(!sample.is_short(&rules(LateMethod::Wait)));
    es_dfm.fit(sample);
    assert_eq!(es_dfm.borrowed, 0.5);
}

#[test]
fn only_mature_rows_say_what_comes_later() {
    let es_dfm = LateRules {
        elapsed: 0.25,
        ..rules(LateMethod::EsDfm)
    };
    assert_eq!(es_dfm.later(1.0, 0.5, 0.9), [None, None]);
    assert_eq!(es_dfm.later(1.0, 0.5, 1.0), [Some(true), Some(false)]);
    assert_eq!(es_dfm.later(1.0, 0.2, 1.0), [Some(false), None]);
    assert_eq!(es_dfm.later(0.0, f32::NAN, 2.0), [Some(false), Some(true)]);
}

#[test]
fn the_distribution_is_that_of_the_delays() {
    let delays: Vec<f32> = (1..=1000).rev().map(|k| k as f32 / 2000.0).collect();
    let found = Delays::fit(delays);
    for (time, share) in [
        (0.0, 0.0),
        (0.125, 0.25),
        (0.4, 0.8),
        (0.5, 1.0),
        (0.9, 1.0),
        (7.0, 1.0),
    ] {
        assert!((found.share(time) - share).abs() < 1e-6, "{time}");
    }
    assert_eq!(found.share(-1.0), 0.0);
    assert!((found.share(1e-4) - 2e-4).abs() < 1e-6);
}

#[test]
fn few_or_equal_delays_have_a_distribution() {
    assert_eq!(Delays::fit(vec![]).share(0.3), 1.0);
    let one = Delays::fit(vec![0.5]);
    assert_eq!(
        [0.25, 0.5, 0.6].map(|time| one.share(time)),
        [0.5, 1.0, 1.0]
    );
    let equal = Delays::fit(vec![0.25; 7]);
    assert_eq!(equal.share(0.25), 1.0);
    assert!(equal.share(0.2) < 1.0);
    let now = Delays::fit(vec![0.0; 3]);
    assert_eq!(now.share(0.0), 1.0);
}

/// A window is a day here; the earlier training was half a window before.
fn since(method: LateMethod) -> LateRules {
    LateRules {
        since: Some(-0.5),
        elapsed: if method.is_sampled_later() { 0.25 } else { 0.0 },
        ..rules(method)
    }
}

#[test]
fn after_an_earlier_training_rows_are_used_once() {
    let known = |method, label, delay, age| since(method).known(label, delay, age, true);
    let is_used = |method, age| !known(method, 0.0, f32::NAN, age).is_nan();
    for (age, clicked, matured) in [
        (0.1, true, false),
        (0.4, true, false),
        (0.5, false, false),
        (0.9, false, false),
        (1.0, false, true),
        (1.4, false, true),
        (1.5, false, false),
    ] {
        for method in [
            LateMethod::AsNegatives,
            LateMethod::DelayDistribution,
            LateMethod::Dfm,
            LateMethod::Oracle,
        ] {
            assert_eq!(is_used(method, age), clicked, "{method:?} {age}");
        }
        assert_eq!(is_used(LateMethod::Wait, age), matured, "{age}");
        let valid = since(LateMethod::Dfm).known(0.0, f32::NAN, age, false);
        assert_eq!(!valid.is_nan(), matured, "{age}");
    }
    // The first sample a quarter after the click, and nothing more until the window is over.
    for (age, expected) in [
        (0.2, false),
        (0.3, true),
        (0.7, true),
        (0.8, false),
        (1.1, true),
        (1.6, false),
    ] {
        assert_eq!(is_used(LateMethod::EsDfm, age), expected, "{age}");
    }
    // A conversion that came since is a sample, on a row of any age.
    assert_eq!(known(LateMethod::EsDfm, 1.0, 0.6, 0.9), 1.0);
    assert!(known(LateMethod::EsDfm, 1.0, 0.3, 0.9).is_nan());
    assert!(known(LateMethod::EsDfm, 1.0, 0.95, 0.9).is_nan());
}

/// Over trainings that follow each other every sample comes once.
#[test]
fn samples_of_one_training_after_another_are_those_of_the_stream() {
    for method in [LateMethod::Fnc, LateMethod::EsDfm, LateMethod::Defer] {
        for (label, delay) in [(0.0, f32::NAN), (1.0, 0.125), (1.0, 0.625), (1.0, 1.0)] {
            let rules = since(method);
            let mut sum = Samples::default();
            for age in [0.375, 0.875, 1.375, 1.875] {
                let known = if delay <= age { label } else { 0.0 };
                let found = rules.samples(known, delay, age);
                sum.negatives += found.negatives;
                sum.positives += found.positives;
            }
            let whole = LateRules {
                since: None,
                ..rules
            };
            assert_eq!(
                sum,
                whole.samples(label, delay, 5.0),
                "{method:?} {label} {delay}"
            );
        }
    }
}

//! Tests of the properties of a synthetic log, through its public interface.

use super::*;
use ncs_features::Values;

fn plan(rows: u64) -> SyntheticPlan {
    SyntheticPlan {
        rows,
        ..SyntheticPlan::default()
    }
}

fn blocks(plan: &SyntheticPlan) -> Vec<Block> {
    Synthetic::new(plan.clone()).unwrap().collect()
}

fn floats(blocks: &[Block], name: &str) -> Vec<f64> {
    let column = |block: &Block| match &block.column(name).unwrap().values {
        Values::Float(numbers) => numbers.clone(),
        Values::Int(numbers) => numbers.iter().map(|&x| x as f64).collect(),
        Values::Text(_) | Values::Time(_) => panic!("{name} is not a number"),
    };
    blocks.iter().flat_map(column).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Chance that a positive row is ranked above a negative one; ties have no weight here.
fn auc(scored: &[(f64, bool)]) -> f64 {
    let mut scored = scored.to_vec();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives, mut below) = (0u64, 0u64);
    for (_, is_positive) in &scored {
        if *is_positive {
            below += negatives
        } else {
            negatives += 1
        }
    }
    below as f64 / (negatives * (scored.len() as u64 - negatives)) as f64
}

struct Outcomes {
    clicks: Vec<(f64, bool)>,
    /// Clicked rows only.
    conversions: Vec<(f64, bool)>,
}

fn outcomes(plan: &SyntheticPlan) -> Outcomes {
    let blocks = blocks(plan);
    let of = |truth: &str, label: &str| -> Vec<(f64, bool)> {
        let labels = floats(&blocks, label);
        let labels = labels.into_iter().map(|label| label == 1.0);
        floats(&blocks, truth).into_iter().zip(labels).collect()
    };
    let clicks = of("p_click", "click");
    let mut conversions = of("p_conversion", "conversion");
    let mut clicked = clicks.iter().map(|row| row.1);
    conversions.retain(|_| clicked.next().unwrap());
    Outcomes {
        clicks,
        conversions,
    }
}

fn rate(outcomes: &[(f64, bool)]) -> f64 {
    outcomes.iter().filter(|row| row.1).count() as f64 / outcomes.len() as f64
}

#[test]
fn rates_come_out_as_planned() {
    let check = |click_rate: f64, conversion_rate: f64, seed| {
        let found = outcomes(&SyntheticPlan {
            click_rate,
            conversion_rate,
            seed,
            ..plan(60_000)
        });
        let clicks = rate(&found.clicks) / click_rate;
        let conversions = rate(&found.conversions) / conversion_rate;
        assert!((0.9..1.1).contains(&clicks), "clicks {clicks}, seed {seed}");
        // So many conversions, so large a chance deviation: four of them.
        let noise = 4.0 / (found.conversions.len() as f64 * conversion_rate).sqrt();
        assert!(
            (conversions - 1.0).abs() < 0.1 + noise,
            "conversions {conversions}, seed {seed}"
        );
    };
    check(0.1, 0.03, 1);
    check(0.1, 0.03, 2);
    check(0.4, 0.5, 3);
    check(0.02, 0.2, 4);
}

#[test]
fn the_true_probabilities_rank_well_but_not_perfectly() {
    for seed in 1..=3 {
        let found = outcomes(&SyntheticPlan {
            seed,
            conversion_rate: 0.1,
            share: 0.0,
            ..plan(60_000)
        });
        let (clicks, conversions) = (auc(&found.clicks), auc(&found.conversions));
        assert!(
            (0.79..0.86).contains(&clicks),
            "clicks {clicks}, seed {seed}"
        );
        assert!(
            (0.76..0.88).contains(&conversions),
            "conversions {conversions}, seed {seed}"
        );
    }
}

#[test]
fn clicked_rows_are_a_selection_when_the_tasks_agree() {
    let advantage = |share| {
        let blocks = blocks(&SyntheticPlan {
            share,
            ..plan(20_000)
        });
        let truth = floats(&blocks, "p_conversion");
        let clicks = floats(&blocks, "click");
        let clicked = truth.iter().zip(&clicks).filter(|row| *row.1 == 1.0);
        let clicked: Vec<f64> = clicked.map(|row| *row.0).collect();
        mean(&clicked) / mean(&truth)
    };
    assert!(advantage(1.0) > 1.5, "{}", advantage(1.0));
    assert!(advantage(1.0) > advantage(0.0) + 0.5);
}

#[test]
fn the_probabilities_are_those_of_the_labels() {
    let found = outcomes(&SyntheticPlan {
        conversion_rate: 0.2,
        ..plan(60_000)
    });
    for outcomes in [&found.clicks, &found.conversions] {
        let mut sorted = outcomes.clone();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        for tenth in sorted.chunks(sorted.len().div_ceil(10)) {
            let expected = mean(&tenth.iter().map(|row| row.0).collect::<Vec<_>>());
            let deviation = (expected * (1.0 - expected) / tenth.len() as f64).sqrt();
            let found = rate(tenth);
            assert!(
                (found - expected).abs() < 4.0 * deviation,
                "{found}, not {expected}"
            );
        }
    }
}

#[test]
fn a_seed_makes_the_same_log_again_and_another_seed_another() {
    let first = blocks(&plan(9_000));
    assert_eq!(first, blocks(&plan(9_000)));
    let other = SyntheticPlan {
        seed: 2,
        ..plan(9_000)
    };
    assert_ne!(first, blocks(&other));
}

#[test]
fn rows_do_not_depend_on_the_blocks_they_come_in() {
    let log = Synthetic::new(plan(20_000)).unwrap();
    let block_sizes: Vec<usize> = log.clone().map(|block| block.n_rows).collect();
    assert_eq!(block_sizes, [8_192, 8_192, 3_616]);
    let second = log.clone().nth(1).unwrap();
    assert_eq!(second.select(&[5, 6, 7]), log.block(8_197..8_200));
}

#[test]
fn parts_have_other_rows_of_one_truth() {
    let part = |part| {
        blocks(&SyntheticPlan {
            part,
            ..plan(4_000)
        })
    };
    let [train, valid, test] = Part::ALL.map(part);
    let sessions = |blocks: &[Block]| floats(blocks, GROUP);
    let latest = |blocks: &[Block]| sessions(blocks).into_iter().fold(0.0, f64::max);
    assert!(latest(&train) < sessions(&valid)[0] && latest(&valid) < sessions(&test)[0]);
    assert_ne!(floats(&train, "p_click"), floats(&valid, "p_click"));
    // An item keeps its category in every part.
    let first_price = |blocks: &[Block], item: f64| {
        let items = floats(blocks, "item");
        let at = items.iter().position(|&found| found == item).unwrap();
        let category = blocks[0].column("category").unwrap();
        match &category.values {
            Values::Text(texts) => texts.get(at).to_vec(),
            _ => panic!("categories are texts"),
        }
    };
    for item in [0.0, 1.0, 2.0] {
        assert_eq!(first_price(&train, item), first_price(&test, item));
    }
}

#[test]
fn columns_are_those_that_are_promised() {
    let block = &blocks(&plan(4_000))[0];
    let found: Vec<&str> = block
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let features = FIELDS.iter().map(|field| field.0);
    let promised: Vec<&str> = features
        .chain([GROUP])
        .chain(LABELS)
        .chain(TRUTHS)
        .collect();
    assert_eq!(found, promised);
    let conversions = block.column("conversion").unwrap();
    let clicks = floats(std::slice::from_ref(block), "click");
    for (row, click) in clicks.iter().enumerate() {
        assert_eq!(conversions.is_null(row), *click == 0.0);
    }
    let tags = block.column("tags").unwrap();
    let lengths: Vec<usize> = (0..block.n_rows).map(|row| tags.range(row).len()).collect();
    assert!(lengths.contains(&0) && lengths.iter().any(|&n| n > 2));
    assert!((0..block.n_rows).any(|row| block.column("city").unwrap().is_null(row)));
}

#[test]
fn a_plan_outside_its_range_says_which_setting() {
    let check = |plan: SyntheticPlan, expected: &str| {
        assert_eq!(Synthetic::new(plan).unwrap_err().to_string(), expected);
    };
    check(
        plan(0),
        "synthetic log: rows must be from 1 to 2^40, found 0",
    );
    let share = SyntheticPlan {
        share: f64::NAN,
        ..plan(1)
    };
    check(share, "synthetic log: share must be from 0 to 1, found NaN");
    let rate = SyntheticPlan {
        conversion_rate: 1.0,
        ..plan(1)
    };
    check(
        rate,
        "synthetic log: conversion_rate must be between 0 and 1, found 1",
    );
    let users = SyntheticPlan {
        users: 0,
        ..plan(1)
    };
    check(users, "synthetic log: users must be at least 1, found 0");
}

/// Returns a log of 60,000 training rows over twelve of twenty days, of which items arrive every day.
fn arriving(unseen: f64, part: Part) -> SyntheticPlan {
    let rows = [60_000, 20_000, 20_000];
    SyntheticPlan {
        part,
        click_rate: 0.2,
        arrivals: Some(Arrivals {
            unseen,
            days: 20,
            drift: 0.2,
            rows,
        }),
        ..plan(rows[part as usize])
    }
}

/// Returns the day of each row, from 0.
fn days(blocks: &[Block]) -> Vec<usize> {
    let column = |block: &Block| match &block.column(TIME).unwrap().values {
        Values::Time(times) => times
            .iter()
            .map(|time| (time.to_string()[8..10].parse::<usize>().unwrap()) - 1)
            .collect::<Vec<_>>(),
        _ => panic!("times are instants"),
    };
    blocks.iter().flat_map(column).collect()
}

#[test]
fn as_many_test_rows_show_unseen_items_as_planned() {
    for unseen in [0.3, 0.5, 0.85] {
        let items = |part| floats(&blocks(&arriving(unseen, part)), "item");
        let seen: std::collections::HashSet<u64> = items(Part::Train)
            .into_iter()
            .map(|item| item as u64)
            .collect();
        let test = items(Part::Test);
        let is_unseen = |item: &&f64| !seen.contains(&(**item as u64));
        let found = test.iter().filter(is_unseen).count() as f64 / test.len() as f64;
        assert!((found - unseen).abs() < 0.02, "{found}, not {unseen}");
    }
}

#[test]
fn the_parts_of_an_arriving_log_follow_each_other_in_time() {
    let of_part = |part| days(&blocks(&arriving(0.5, part)));
    let range = |days: &[usize]| (*days.iter().min().unwrap(), *days.iter().max().unwrap());
    assert_eq!(range(&of_part(Part::Train)), (0, 11));
    assert_eq!(range(&of_part(Part::Valid)), (12, 15));
    assert_eq!(range(&of_part(Part::Test)), (16, 19));
    let days = of_part(Part::Train);
    let n_rows = |day| days.iter().filter(|&&found| found == day).count();
    assert!((0..12).all(|day| n_rows(day).abs_diff(5_000) <= 8));
}

#[test]
fn items_arrive_every_day_and_fade() {
    let blocks = blocks(&arriving(0.5, Part::Train));
    let (items, days) = (floats(&blocks, "item"), days(&blocks));
    let mut shown = std::collections::HashMap::<u64, [usize; 12]>::new();
    for (&item, &day) in items.iter().zip(&days) {
        shown.entry(item as u64).or_default()[day] += 1;
    }
    // An item's number grows with its day: those above all that the days before showed are new.
    let new_on = |day: usize| {
        let before = shown
            .iter()
            .filter(|(_, n)| n[..day].iter().any(|&n| n > 0));
        let last = before.map(|(&item, _)| item).max().unwrap();
        let of_day: Vec<_> = shown
            .iter()
            .filter(|(item, n)| **item > last && n[day] > 0)
            .collect();
        let rows = |day: usize| of_day.iter().map(|(_, n)| n[day]).sum::<usize>();
        (of_day.len(), rows(day), rows(day + 2))
    };
    for day in 1..10 {
        let (n_items, at_first, later) = new_on(day);
        assert!(
            n_items > 50 && at_first > later,
            "day {day}: {n_items} items, {at_first}, {later}"
        );
    }
}

#[test]
fn rates_drift_and_the_truth_says_how() {
    let blocks = blocks(&arriving(0.5, Part::Train));
    let days = days(&blocks);
    let (clicks, truth) = (floats(&blocks, "click"), floats(&blocks, "p_click"));
    let of_day = |values: &[f64], day| -> Vec<f64> {
        let rows = values.iter().zip(&days).filter(|row| *row.1 == day);
        rows.map(|row| *row.0).collect()
    };
    let mut rates = Vec::new();
    for day in 0..12 {
        let (clicks, truth) = (of_day(&clicks, day), of_day(&truth, day));
        let variance: f64 = truth.iter().map(|p| p * (1.0 - p)).sum();
        let surplus = clicks.iter().sum::<f64>() - truth.iter().sum::<f64>();
        assert!(
            surplus.abs() < 4.0 * variance.sqrt(),
            "day {day}: {surplus}"
        );
        rates.push(mean(&truth));
    }
    let spread =
        rates.iter().copied().fold(0.0, f64::max) - rates.iter().copied().fold(1.0, f64::min);
    assert!(spread > 0.03, "{rates:?}");
    assert!(
        (mean(&clicks) / 0.2 - 1.0).abs() < 0.05,
        "{}",
        mean(&clicks)
    );
}

#[test]
fn a_share_of_unseen_items_that_cannot_be_says_which_can() {
    let error = Synthetic::new(arriving(0.01, Part::Test))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("synthetic log: 1.0 % of the test rows cannot show unseen items"),
        "{error}"
    );
    let mut plan = arriving(0.5, Part::Test);
    plan.arrivals.as_mut().unwrap().days = 4;
    let error = Synthetic::new(plan).unwrap_err().to_string();
    assert_eq!(error, "synthetic log: days must be from 5 to 1000, found 4");
}

fn late(part: Part) -> SyntheticPlan {
    SyntheticPlan {
        conversion_rate: 0.5,
        delays: Some(ConversionDelays {
            days: 1.5,
            window_days: 6.0,
        }),
        ..arriving(0.5, part)
    }
}

#[test]
fn delays_follow_their_law_for_each_delivery() {
    let log = late(Part::Train);
    let law = log.delays.unwrap();
    let mut found = [[0.0, 0.0]; 8];
    for block in blocks(&log) {
        let of = |name: &str| block.column(name).unwrap();
        let (Values::Time(times), Values::Time(conversions)) =
            (&of(TIME).values, &of(CONVERSION_TIME).values)
        else {
            panic!("times are instants");
        };
        let (Values::Text(deliveries), Values::Int(converted)) =
            (&of("delivery").values, &of("conversion").values)
        else {
            panic!("deliveries are texts and labels numbers");
        };
        for row in 0..block.n_rows {
            let is_converted = !of("conversion").is_null(row) && converted[row] == 1;
            assert_eq!(of(CONVERSION_TIME).is_null(row), !is_converted);
            if is_converted {
                let name = std::str::from_utf8(deliveries.get(row)).unwrap();
                let delivery = name["delivery_".len()..].parse::<usize>().unwrap();
                let seconds = conversions[row].seconds_f64() - times[row].seconds_f64();
                assert!((0.0..=6.0 * 86_400.0).contains(&seconds));
                found[delivery][0] += 1.0;
                found[delivery][1] += f64::from(u8::from(seconds <= 86_400.0));
            }
        }
    }
    for (delivery, [n, within_a_day]) in found.into_iter().enumerate() {
        let share = law.share(delivery as u32, 1.0);
        let error = 4.0 * (share * (1.0 - share) / n).sqrt();
        assert!(
            (within_a_day / n - share).abs() < error,
            "{delivery}: {share}"
        );
    }
    assert_eq!(law.scale(0), 0.375);
    assert!((law.scale(7) - 6.0).abs() < 1e-12);
}

#[test]
fn delays_change_nothing_else() {
    let without = SyntheticPlan {
        delays: None,
        ..late(Part::Valid)
    };
    let cut = |mut block: Block| {
        block
            .columns
            .retain(|column| column.name != CONVERSION_TIME);
        block
    };
    let with: Vec<Block> = blocks(&late(Part::Valid)).into_iter().map(cut).collect();
    assert!(with == blocks(&without));
}

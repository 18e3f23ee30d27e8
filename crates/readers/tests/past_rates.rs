//! Counts and rates of the past in the cache: training rows know earlier blocks, all others the final state.

mod synthetic_files;

use ncs_features::{
    Batch, FieldIds, IdSpacePlan, Population, RatePlan, RatesPlan, SchemaPlan, TablePlan,
};
use ncs_readers::batches::BatchPlan;
use ncs_readers::cache::Cache;
use ncs_readers::{
    DataPlan, Format, Moment, Prepared, Split, Stage, prepare, prepare_all, rehearse,
};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use synthetic_files::{plan, schema, write};
use tempfile::tempdir;

const GO: ControlFlow<()> = ControlFlow::Continue(());

/// Position of `user` in the schema, and of the first past rate.
const USER: usize = 0;
const RATE: usize = 6;

fn with_rates(rates: RatesPlan) -> SchemaPlan {
    SchemaPlan { rates, ..schema() }
}

fn of_user() -> RatesPlan {
    RatesPlan::These(vec![RatePlan {
        of: vec![USER],
        tasks: vec![0, 1],
    }])
}

fn batches(cache: &Cache) -> Vec<Batch> {
    let plan = BatchPlan {
        prefetch: false,
        ..BatchPlan::default()
    };
    cache.batches(plan).map(Result::unwrap).collect()
}

/// Returns all numbers of a field, as bits.
fn numbers(cache: &Cache, field: usize) -> Vec<u32> {
    let batches = batches(cache);
    let of = |ids: &FieldIds| ids.numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    batches
        .iter()
        .flat_map(|batch| of(&batch.fields[field]))
        .collect()
}

/// Returns the places of missing numbers.
fn share_missing(cache: &Cache, field: usize) -> f64 {
    let numbers = numbers(cache, field);
    let rows: Vec<_> = numbers.chunks(3).collect();
    let missing = rows.iter().filter(|row| f32::from_bits(row[0]).is_nan());
    missing.count() as f64 / rows.len() as f64
}

/// The encoder that serves gives the numbers that validation and test rows have in the cache.
fn check_later_rows(prepared: &Prepared) {
    let schema = &prepared.schema;
    let rate = schema.rate(RATE).unwrap();
    for cache in [&prepared.valid, &prepared.test].into_iter().flatten() {
        for batch in batches(cache) {
            for row in 0..batch.n_rows {
                let value = rate.value(u64::from(batch.fields[USER].ids[row]));
                let expected = rate.scale.encode(value).map(f32::to_bits);
                let found = &batch.fields[RATE].numbers[3 * row..3 * row + 3];
                assert_eq!(
                    found.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
                    expected
                );
            }
        }
    }
}

fn by_row(plan: &DataPlan) -> DataPlan {
    DataPlan {
        split: Split::Row {
            valid: 0.1,
            test: 0.1,
            seed: 1,
        },
        ..plan.clone()
    }
}

#[test]
fn later_rows_have_the_final_state_and_training_rows_an_earlier_one() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 20_000);
    let plan = by_row(&plan(folder.path(), "train.csv"));
    let mut stages = Vec::new();
    let prepared = prepare(&plan, &with_rates(of_user()), &mut |now| {
        stages.push(now.stage);
        GO
    });
    let prepared = prepared.unwrap();
    stages.dedup();
    assert_eq!(stages, [Stage::Fit, Stage::Past, Stage::Encode]);
    let names: Vec<&str> = prepared.schema.fields[RATE..]
        .iter()
        .map(|f| &*f.name)
        .collect();
    assert_eq!(
        names,
        ["user.past_click", "user.past_conversion", "user.past_rows"]
    );
    let notes = prepared.report.notes.join("\n");
    assert!(
        notes.contains("past rates: user.past_click (AUC 0."),
        "{notes}"
    );
    assert!(
        notes.contains("of 32 blocks by a hash of the row's number"),
        "{notes}"
    );
    check_later_rows(&prepared);
    // Rows of the first of 32 blocks have no past counts, and neither have the first rows of each user.
    let missing = share_missing(&prepared.train, RATE + 2);
    assert!((0.03..0.3).contains(&missing), "{missing}");
    let rate = prepared.schema.rate(RATE).unwrap();
    let train = batches(&prepared.train);
    let final_state = |batch: &Batch, row: usize| {
        let value = rate.value(u64::from(batch.fields[USER].ids[row]));
        rate.scale.encode(value)[0] == batch.fields[RATE].numbers[3 * row]
    };
    let known = train
        .iter()
        .flat_map(|batch| (0..batch.n_rows).map(move |row| (batch, row)));
    let same = known
        .filter(|(batch, row)| final_state(batch, *row))
        .count();
    assert!(same < 2_000, "{same} training rows know the final state");

    // From the cache, the same; another plan is another data set.
    let again = prepare(&plan, &with_rates(of_user()), &mut |_| {
        panic!("no file is read")
    });
    let again = again.unwrap();
    assert_eq!(again.schema, prepared.schema);
    assert_eq!(numbers(&again.train, RATE), numbers(&prepared.train, RATE));
    let without = prepare(&plan, &schema(), &mut |_| GO).unwrap();
    assert!(!without.was_cached && without.schema.fields.len() == RATE);
    let (rehearsed, report) = rehearse(&plan, &with_rates(of_user()), None, &mut |_| GO).unwrap();
    assert_eq!(
        (&rehearsed, &report.notes),
        (&*prepared.schema, &prepared.report.notes)
    );
}

#[test]
fn blocks_of_time_are_as_long_as_validation() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 20_000);
    // A column of times: the first half of the file is the later one.
    let path = folder.path().join("train.csv");
    let text = fs::read_to_string(&path).unwrap();
    let with_time = text.lines().enumerate().map(|(line, text)| match line {
        0 => format!("{text},ts\n"),
        _ => format!("{text},{}\n", (line + 10_000) % 20_000),
    });
    fs::write(&path, with_time.collect::<String>()).unwrap();
    let plan = DataPlan {
        split: Split::Time {
            column: "ts".into(),
            valid_from: Moment::Number(16_000.0),
            test_from: None,
            format: None,
        },
        ..plan(folder.path(), "train.csv")
    };
    let prepared = prepare(&plan, &with_rates(of_user()), &mut |_| GO).unwrap();
    let notes = prepared.report.notes.join("\n");
    assert!(notes.contains("of 4 blocks of time by \"ts\""), "{notes}");
    check_later_rows(&prepared);
    // Training rows in the order of the file: times 10,001 to 15,999, then 0 to 10,000. The first block ends
    // at 4,000.
    let numbers = numbers(&prepared.train, RATE + 2);
    let is_missing = |row: usize| f32::from_bits(numbers[3 * row]).is_nan();
    assert_eq!(numbers.len(), 3 * 16_000);
    let first = 6_000..9_990;
    assert!(first.clone().all(is_missing), "the first block has a past");
    let later = (0..5_990).filter(|&row| is_missing(row)).count();
    assert!(later < 2_400, "{later} rows of later blocks have no past");

    // A training on all rows keeps the scales, and counts more.
    let all = prepare_all(&plan, &with_rates(of_user()), &prepared, None, &mut |_| GO).unwrap();
    let (before, after) = (
        prepared.schema.rate(RATE).unwrap(),
        all.schema.rate(RATE).unwrap(),
    );
    assert_eq!(before.scale, after.scale);
    assert_eq!(all.train.n_rows(), 20_000);
    let rows = |prepared: &Prepared| prepared.schema.rate(RATE + 2).unwrap().counts.rows();
    assert_eq!((rows(&prepared), rows(&all)), (16_000, 20_000));
    assert_eq!(all.schema.fields.len(), prepared.schema.fields.len());
}

fn by_vocabulary(name: &str) -> TablePlan {
    TablePlan {
        name: name.into(),
        ids: IdSpacePlan::Vocabulary {
            min_count: 1,
            max_size: None,
        },
    }
}

#[test]
fn users_of_a_split_by_user_have_no_past_in_training_either() {
    let folder = tempdir().unwrap();
    write(folder.path(), Format::Csv, 5_000);
    let plan = DataPlan {
        split: Split::Hash {
            column: "user".into(),
            valid: 0.1,
            test: 0.1,
            seed: 1,
        },
        ..plan(folder.path(), "train.csv")
    };
    let mut schema = with_rates(of_user());
    schema.tables[USER] = by_vocabulary("user");
    let prepared = prepare(&plan, &schema, &mut |_| GO).unwrap();
    for cache in [&prepared.train, prepared.valid.as_ref().unwrap()] {
        assert_eq!(share_missing(cache, RATE), 1.0);
    }
}

/// Returns a number in [0, 1) from another: the same in every run.
fn noise(number: u64) -> f64 {
    let mut state = number;
    (ncs_features::hash::split_mix(&mut state) >> 11) as f64 / (1u64 << 53) as f64
}

/// Prepares a log of so many rows whose users differ in their click rate.
fn by_auto(folder: &Path, rows: u64) -> Prepared {
    let mut text = String::from("user,item,device,click,buy\n");
    for row in 0..rows {
        let pick = |salt: u64, n: f64| (noise(10 * row + salt) * n) as u64;
        let (user, item, device) = (pick(1, 400.0), pick(2, 400.0), pick(3, 9.0));
        let click = u8::from(noise(10 * row + 4) < 0.1 + 0.5 * noise(user + 1_000_003));
        let buy = u8::from(noise(10 * row + 5) < 0.3);
        text += &format!("{user},{item},{device},{click},{buy}\n");
    }
    fs::write(folder.join("log.csv"), text).unwrap();
    let names = ["user", "item", "device"];
    let schema = SchemaPlan {
        fields: names
            .iter()
            .zip(0..)
            .map(|(name, table)| synthetic_files::field(name, table))
            .collect(),
        tables: names.map(by_vocabulary).into(),
        tasks: vec![
            synthetic_files::task("click", Population::All, None),
            synthetic_files::task("buy", Population::Where(0), None),
        ],
        group: None,
        rates: RatesPlan::Auto,
    };
    let plan = by_row(&plan(folder, "log.csv"));
    prepare(&plan, &schema, &mut |_| GO).unwrap()
}

#[test]
fn auto_keeps_what_predicts_later_rows() {
    let folder = tempdir().unwrap();
    let prepared = by_auto(folder.path(), 60_000);
    let fields = prepared.schema.fields[3..].iter().map(|f| &*f.name);
    let notes = prepared.report.notes.join("\n");
    assert_eq!(
        fields.collect::<Vec<&str>>(),
        ["user.past_click", "user.past_rows"],
        "{notes}"
    );
    let left_out = "and are left out: user.past_buy, item.past_click, item.past_buy";
    assert!(notes.contains(left_out), "{notes}");
}

#[test]
fn auto_takes_no_rates_of_few_rows() {
    let folder = tempdir().unwrap();
    let prepared = by_auto(folder.path(), 20_000);
    assert_eq!(prepared.schema.fields.len(), 3);
    let notes = prepared.report.notes.join("\n");
    assert!(notes.contains("takes them from 30000 on"), "{notes}");
}

//! Counts and rates of the past: what training rows may know, and what all later rows know.

use ncs_features::rates::Measure;
use ncs_features::*;
use std::sync::Arc;

const N_ROWS: usize = 6_000;
const N_BLOCKS: usize = 8;

/// The field of `user.past_click`, behind user, item and device; then the number of rows.
const RATE: usize = 3;
const ROWS: usize = 4;

/// Noise from a number: the same in every run.
fn noise(seed: usize) -> f64 {
    let mut state = seed as u64;
    (hash::split_mix(&mut state) >> 11) as f64 / (1u64 << 53) as f64
}

/// Rows of users and items whose labels these are.
fn rows(n_users: usize, labels: &[i64]) -> Block {
    let column = |name: &str, values: Vec<i64>| Column {
        name: name.into(),
        values: Values::Int(values),
        ..Column::default()
    };
    let pick = |salt: usize, n: usize| {
        let one = |row: usize| (noise(row * 31 + salt) * n as f64) as i64;
        (0..labels.len()).map(one).collect::<Vec<i64>>()
    };
    Block {
        n_rows: labels.len(),
        columns: vec![
            column("user", pick(1, n_users)),
            column("item", pick(2, 300)),
            column("device", pick(3, 4)),
            column("click", labels.to_vec()),
        ],
    }
}

fn plan(rates: RatesPlan) -> SchemaPlan {
    let names = ["user", "item", "device"];
    let field = |(table, name): (usize, &&str)| Field {
        name: (*name).into(),
        column: (*name).into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let table = |name: &&str| TablePlan {
        name: (*name).into(),
        ids: IdSpacePlan::Vocabulary {
            min_count: 1,
            max_size: None,
        },
    };
    SchemaPlan {
        fields: names.iter().enumerate().map(field).collect(),
        tables: names.iter().map(table).collect(),
        tasks: vec![ncs_testkit::task("click")],
        group: None,
        rates,
    }
}

fn these(of: &[&[usize]]) -> RatesPlan {
    let rate = |of: &&[usize]| RatePlan {
        of: of.to_vec(),
        tasks: vec![0],
    };
    RatesPlan::These(of.iter().map(rate).collect())
}

/// Result of training on all rows of a block.
struct Trained {
    encoder: Encoder,
    past: PastRates,
    notes: Vec<RateNote>,
    /// The rows as all later rows with the same ids see themselves.
    batch: Batch,
    blocks: Vec<u8>,
}

impl Trained {
    fn on(block: &Block, rates: RatesPlan) -> Trained {
        let plan = plan(rates);
        let mut fit = Fit::new(plan.clone());
        fit.observe(block).unwrap();
        let schema = fit.finish().unwrap();
        let batch = Encoder::new(Arc::new(schema.clone()))
            .encode(block)
            .unwrap();
        let all: Vec<usize> = (0..block.n_rows).collect();
        let block_of = |row: &usize| (noise(row + 77) * N_BLOCKS as f64) as u8;
        let blocks: Vec<u8> = all.iter().map(block_of).collect();
        let mut histories = Histories::new(&schema, &plan.rates, N_BLOCKS);
        histories.observe(&batch, &all, &blocks);
        let (schema, past, notes) = histories.finish(schema, None);
        let encoder = Encoder::new(Arc::new(schema));
        Trained {
            batch: encoder.encode(block).unwrap(),
            encoder,
            past,
            notes,
            blocks,
        }
    }

    /// Returns the value of a field for a training row.
    fn known(&self, field: usize, row: usize) -> Option<f64> {
        self.past.value(field, &self.batch, row, self.blocks[row])
    }

    /// Returns the value of a field for a later row with the same ids.
    fn later(&self, field: usize, row: usize) -> Option<f64> {
        let rate = self.encoder.schema().rate(field).unwrap();
        let ids = rate.of.iter().map(|&of| self.batch.fields[of].ids[row]);
        rate.value(ids.fold(0, |key, id| key << 32 | u64::from(id)))
    }
}

/// Labels by a rate for each user.
fn labels(n_rows: usize, rate: impl Fn(usize) -> f64) -> Vec<i64> {
    let label = |row: usize| i64::from(noise(row * 7 + 5) < rate(row));
    (0..n_rows).map(label).collect()
}

/// Returns the share of pairs, of a positive and a negative row, that scores put in order.
fn auc(labels: &[i64], scores: &[f64]) -> f64 {
    let of = |wanted: i64| {
        let pairs = labels.iter().zip(scores);
        pairs
            .filter(move |(label, _)| **label == wanted)
            .map(|(_, score)| *score)
    };
    let (mut wins, mut pairs) = (0.0, 0.0);
    for positive in of(1) {
        for negative in of(0) {
            wins += f64::from(positive > negative) + 0.5 * f64::from(positive == negative);
            pairs += 1.0;
        }
    }
    wins / pairs
}

#[test]
fn a_row_knows_neither_its_own_label_nor_those_of_its_block_or_later_ones() {
    let labels = labels(N_ROWS, |row| 0.2 + 0.3 * noise(row));
    let before = Trained::on(&rows(200, &labels), these(&[&[0], &[0, 2]]));
    for flipped in [0, 1234, N_ROWS - 1] {
        let mut others = labels.clone();
        others[flipped] = 1 - others[flipped];
        let after = Trained::on(&rows(200, &others), these(&[&[0], &[0, 2]]));
        let mut changed = 0;
        for row in 0..N_ROWS {
            for field in [RATE, ROWS, RATE + 2, ROWS + 2] {
                let same = before.known(field, row).map(f64::to_bits)
                    == after.known(field, row).map(f64::to_bits);
                let is_later = before.blocks[row] > before.blocks[flipped];
                assert!(same || is_later, "row {row} knows the label of {flipped}");
                changed += usize::from(!same);
            }
        }
        let is_last = usize::from(before.blocks[flipped]) == N_BLOCKS - 1;
        assert!(
            is_last || changed > 0,
            "nobody knows the label of {flipped}"
        );
    }
}

#[test]
fn labels_that_are_noise_do_not_leak_through_rare_ids() {
    let labels = labels(N_ROWS, |_| 0.3);
    let block = rows(N_ROWS / 2, &labels);
    let trained = Trained::on(&block, these(&[&[0]]));
    let of = |value: &dyn Fn(usize) -> Option<f64>| {
        let scores = (0..N_ROWS).map(|row| value(row).unwrap_or(0.0));
        auc(&labels, &scores.collect::<Vec<f64>>())
    };
    let known = of(&|row| trained.known(RATE, row));
    assert!((known - 0.5).abs() < 0.02, "training rows rank {known}");
    // With their own labels among them they would rank nearly all.
    let leaking = of(&|row| trained.later(RATE, row));
    assert!(leaking > 0.75, "the test plants no leak: {leaking}");
}

#[test]
fn later_rows_know_the_state_after_all_training_rows() {
    let labels = labels(N_ROWS, |row| {
        0.1 + 0.6 * noise((noise(row * 31 + 1) * 200.0) as usize)
    });
    let block = rows(200, &labels);
    let trained = Trained::on(&block, these(&[&[0]]));
    let schema = trained.encoder.schema();
    let (rate, n_rows) = (schema.rate(RATE).unwrap(), schema.rate(ROWS).unwrap());
    let Values::Int(users) = &block.columns[0].values else {
        panic!("users are numbers");
    };
    for row in [0, 17, N_ROWS - 1] {
        let same = (0..N_ROWS).filter(|&other| users[other] == users[row]);
        let (n, s) = same.fold((0, 0), |(n, s), other| (n + 1, s + labels[other] as u32));
        let expected = rate.measure.value(n, s).unwrap();
        assert_eq!(trained.later(RATE, row), Some(expected));
        assert_eq!(trained.later(ROWS, row), Some(f64::from(n)));
        let numbers = |field: usize| &trained.batch.fields[field].numbers[3 * row..3 * row + 3];
        assert_eq!(numbers(RATE), rate.scale.encode(Some(expected)));
        assert_eq!(numbers(ROWS), n_rows.scale.encode(Some(f64::from(n))));
    }
    // An id that training has not seen, and a missing one, have none.
    let mut stranger = block.select(&[0, 1]);
    stranger.columns[0].values = Values::Int(vec![999, 0]);
    stranger.columns[0].nulls = vec![false, true];
    let batch = trained.encoder.encode_features(&stranger).unwrap();
    for field in [RATE, ROWS] {
        assert!(batch.fields[field].numbers[0].is_nan());
        assert!(batch.fields[field].numbers[3].is_nan());
    }
}

#[test]
fn an_earlier_models_counts_precede_all_blocks_of_new_rows() {
    let labels = labels(N_ROWS, |row| 0.1 + 0.6 * noise(row % 7));
    let all = rows(200, &labels);
    let (old, new): (Vec<usize>, Vec<usize>) = (0..N_ROWS).partition(|row| *row < 4_000);
    let whole = Trained::on(&all, these(&[&[0]]));
    let first = Trained::on(&all.select(&old), these(&[&[0]]));
    let earlier = first.encoder.schema();

    let plan = plan(RatesPlan::Auto);
    let mut fit = Fit::extending(plan, earlier);
    let later = all.select(&new);
    fit.observe(&later).unwrap();
    let schema = fit.finish().unwrap();
    let batch = Encoder::new(Arc::new(schema.clone()))
        .encode(&later)
        .unwrap();
    let blocks: Vec<u8> = (0..new.len()).map(|row| (row % N_BLOCKS) as u8).collect();
    let mut histories = Histories::extending(&schema, earlier, N_BLOCKS);
    histories.continue_from(earlier);
    histories.observe(&batch, &(0..new.len()).collect::<Vec<_>>(), &blocks);
    let (schema, past, _) = histories.finish(schema, Some(earlier));

    // Rows after training know all rows; the ids of new users differ from those of one training on everything.
    let (rate, n_rows) = (schema.rate(RATE).unwrap(), schema.rate(ROWS).unwrap());
    let known = whole.encoder.schema().rate(RATE).unwrap();
    assert_eq!(rate.counts.rows(), known.counts.rows());
    assert_eq!(rate.counts.len(), known.counts.len());
    // The number of rows is on the scale of the network, which learned from the first rows.
    let Measure::Rows { factor } = n_rows.measure else {
        panic!("a number of rows");
    };
    assert!((factor - 4_000.0 / N_ROWS as f64).abs() < 1e-12, "{factor}");
    let Values::Int(users) = &later.columns[0].values else {
        panic!("users are numbers");
    };
    let Values::Int(first_users) = &all.columns[0].values else {
        panic!("users are numbers");
    };
    let encoder = Encoder::new(Arc::new(schema.clone()));
    let batch = encoder.encode(&later).unwrap();
    for row in [0, 9, 1_999] {
        let before = old
            .iter()
            .filter(|&&old| first_users[old] == users[row])
            .count();
        let known = (0..new.len()).filter(|&r| users[r] == users[row] && blocks[r] < blocks[row]);
        let expected = (before + known.count()) as f64;
        let value = past.value(ROWS, &batch, row, blocks[row]).unwrap();
        let scale = value / expected;
        // All users of a block share the factor of that block.
        assert!(scale > 0.6 && scale <= 1.0, "{value} of {expected} rows");
    }
}

#[test]
fn a_schema_comes_back_from_a_file_as_it_was() {
    let labels = labels(N_ROWS, |row| 0.1 + 0.6 * noise(row % 7));
    let block = rows(200, &labels);
    let trained = Trained::on(&block, these(&[&[0], &[0, 1]]));
    let text = serde_json::to_string(&**trained.encoder.schema()).unwrap();
    let schema: Schema = serde_json::from_str(&text).unwrap();
    assert_eq!(schema, **trained.encoder.schema());
    let again = Encoder::new(Arc::new(schema))
        .encode_features(&block)
        .unwrap();
    for (before, after) in trained.batch.fields.iter().zip(&again.fields) {
        let bits = |ids: &FieldIds| ids.numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(before), bits(after));
    }
}

#[test]
fn a_pair_across_context_and_candidates_is_that_of_whole_rows() {
    let labels = labels(N_ROWS, |row| 0.1 + 0.6 * noise(row % 7));
    let block = rows(200, &labels);
    let trained = Trained::on(&block, these(&[&[0, 1], &[0], &[1]]));
    let user = trained.batch.fields[0].ids[5];
    let same_user = (0..N_ROWS).filter(|&row| trained.batch.fields[0].ids[row] == user);
    let candidates: Vec<usize> = same_user.collect();
    let whole = trained
        .encoder
        .encode_features(&block.select(&candidates))
        .unwrap();
    let schema = trained.encoder.schema();
    let in_context = |f: usize| schema.rate(f).map_or(f == 0, |rate| rate.of == [0]);
    let context = trained
        .encoder
        .encode_some(&block.select(&[5]), in_context)
        .unwrap();
    let mut rest = trained
        .encoder
        .encode_some(&block.select(&candidates), |f| !in_context(f))
        .unwrap();
    trained
        .encoder
        .encode_across(&context, &mut rest, in_context);
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for f in 3..schema.fields.len() {
        for row in 0..candidates.len() {
            let found = if in_context(f) {
                &context.fields[f].numbers[..]
            } else {
                &rest.fields[f].numbers[3 * row..3 * row + 3]
            };
            let expected = &whole.fields[f].numbers[3 * row..3 * row + 3];
            assert_eq!(bits(found), bits(expected), "{}", schema.fields[f].name);
        }
    }
}

#[test]
fn what_predicts_nothing_of_later_rows_is_left_out_of_the_choice() {
    let user = |row: usize| (noise(row * 31 + 1) * 200.0) as usize;
    let labels = labels(N_ROWS, |row| 0.1 + 0.6 * noise(user(row) + 9));
    let trained = Trained::on(&rows(200, &labels), RatesPlan::Auto);
    let names: Vec<&str> = trained
        .encoder
        .schema()
        .fields
        .iter()
        .map(|f| &*f.name)
        .collect();
    assert_eq!(
        names,
        [
            "user",
            "item",
            "device",
            "user.past_click",
            "user.past_rows"
        ]
    );
    let of = |name: &str| {
        trained
            .notes
            .iter()
            .find(|note| note.field == name)
            .unwrap()
    };
    let (user, item) = (of("user.past_click"), of("item.past_click"));
    assert!(user.is_kept && user.auc > 0.65, "{user:?}");
    assert!(
        !item.is_kept && item.strength > 50.0 * user.strength,
        "{item:?}"
    );
    let nothing = Trained::on(&rows(90, &labels[..500]), RatesPlan::None);
    assert_eq!(nothing.encoder.schema().fields.len(), 3);
}

#[test]
fn rates_of_what_is_no_category_are_refused() {
    let labels = labels(500, |_| 0.3);
    let trained = Trained::on(&rows(50, &labels), these(&[&[0]]));
    let schema = trained.encoder.schema();
    let rate = schema.rate(RATE).unwrap();
    assert_eq!(rate.check(schema, RATE), Ok(()));
    for wrong in [
        Rate {
            of: vec![],
            ..rate.clone()
        },
        Rate {
            of: vec![RATE],
            ..rate.clone()
        },
        Rate {
            of: vec![0, 1, 2],
            ..rate.clone()
        },
        Rate {
            measure: rates::Measure::Task {
                task: 1,
                overall: 0.5,
                strength: 1.0,
            },
            ..rate.clone()
        },
        Rate {
            measure: rates::Measure::Task {
                task: 0,
                overall: 0.0,
                strength: 1.0,
            },
            ..rate.clone()
        },
    ] {
        let refused = wrong.check(schema, RATE);
        assert!(refused.is_err_and(|what| what.contains("user.past_click")));
    }
}

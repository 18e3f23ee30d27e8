//! Passes over shares of a batch: together they give the logits, the losses and the gradient of the whole batch.

use ncs_features::{Attention, Batch, EventAttribute, FieldIds, Newest, Pooling, SequencePooling};
use ncs_model::{
    CounterRng, Dropout, Gradient, Gram, HeadRows, Model, NetworkKind, NetworkPlan, Share, Spec,
    Workspace,
};

const DIM: usize = 3;

/// An item, lists pooled in three ways, and events compared with the item.
fn spec() -> Spec {
    let events = EventAttribute {
        sequence: 4,
        pooling: SequencePooling::Din(Attention {
            hidden: [5, 4],
            softmax: true,
        }),
        newest: Newest::Last,
        target: Some(0),
        decay: None,
    };
    let poolings = [
        None,
        Some(Pooling::Mean),
        Some(Pooling::PaddedMean),
        Some(Pooling::Sum),
        Some(Pooling::Events(events)),
    ];
    let fields = poolings.map(|pooling| ncs_model::FieldSpec {
        pooling,
        ..ncs_testkit::field(0)
    });
    Spec {
        fields: fields.into(),
        tables: vec![ncs_testkit::table("item", 60)],
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            gram: Gram::Full,
            ..ncs_testkit::network(NetworkKind::SharedBottom, DIM, &[6, 4])
        },
    }
}

/// Returns lists of 0 to 5 ids; the longest list is in one share only.
fn batch(n_rows: usize) -> Batch {
    let rng = CounterRng::new(5, "batch");
    let id = |f: u64, i: usize, n: u64| (rng.at(f).bits(i as u64) % n) as u32;
    let list = |f: u64| {
        let mut list = FieldIds {
            offsets: vec![0],
            ..FieldIds::default()
        };
        for row in 0..n_rows {
            let length = if row == 1 { 9 } else { id(f, row, 5) as usize };
            let ids = (0..length).map(|k| id(f + 10, row * 9 + k, 60));
            list.ids.extend(ids);
            list.offsets.push(list.ids.len() as u32);
        }
        list
    };
    let item = FieldIds {
        ids: (0..n_rows).map(|row| id(1, row, 60)).collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows,
        fields: vec![item, list(2), list(3), list(4), list(5)],
        ..Batch::default()
    }
}

/// Logits and losses of both heads, and the gradient.
struct Passed {
    logits: [Vec<f64>; 2],
    losses: [f64; 2],
    gradient: Gradient<f64>,
}

/// Learns on a share of the batch. The second head runs on every third row.
fn pass(model: &Model<f64>, batch: &Batch, share: Share, n_threads: usize) -> Passed {
    let mut subnets = model.subnets(0, &[0, 1]);
    if let [_, second] = subnets.as_mut_slice() {
        second.run_on(Some((0..batch.n_rows as u32).step_by(3).collect()));
    }
    let rng = CounterRng::new(4, "loss");
    let loss = |rows: &HeadRows<'_, f64>, gradients: &mut [f64]| {
        let own = rows.rows.iter().zip(rows.logits).zip(gradients);
        let term = |((&row, z), gradient): ((&u32, &f64), &mut f64)| {
            *gradient = rng.at(rows.head as u64).normal(u64::from(row)) * z;
            *gradient * z / 2.0
        };
        own.map(term).sum()
    };
    let dropout = Dropout {
        rate: 0.3,
        field_rate: 0.2,
        rng: CounterRng::new(6, "dropout"),
    };
    let mut workspace = Workspace::of_share(n_threads, share);
    let mut gradient = Gradient::default();
    let network = model.network(0);
    let dropout = Some(dropout);
    network.learn(
        batch,
        &subnets,
        dropout,
        &loss,
        &mut workspace,
        &mut gradient,
    );
    Passed {
        logits: [0, 1].map(|head| workspace.logits(head)),
        losses: [0, 1].map(|head| workspace.loss(head)),
        gradient,
    }
}

#[track_caller]
fn assert_near(found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(
        error < 1e-12 * (1.0 + expected.abs()),
        "{found}, expected {expected}"
    );
}

fn check(n_rows: usize, n_shares: usize, n_threads: usize) {
    let mut model: Model<f64> = Model::new(spec(), CounterRng::new(2, "weights"));
    let batch = batch(n_rows);
    model.network_mut(0).init_rows_of(&batch);
    let whole = pass(&model, &batch, Share::WHOLE, n_threads);
    let shares: Vec<Passed> = (0..n_shares)
        .map(|index| {
            pass(
                &model,
                &batch,
                Share {
                    index,
                    of: n_shares,
                },
                n_threads,
            )
        })
        .collect();
    for head in 0..2 {
        let logits: Vec<f64> = shares
            .iter()
            .flat_map(|share| share.logits[head].clone())
            .collect();
        assert_eq!(
            logits, whole.logits[head],
            "{n_rows} rows, {n_shares} shares"
        );
        let sum: f64 = shares.iter().map(|share| share.losses[head]).sum();
        assert_near(sum, whole.losses[head]);
    }
    for (i, &expected) in whole.gradient.dense.iter().enumerate() {
        assert_near(
            shares.iter().map(|share| share.gradient.dense[i]).sum(),
            expected,
        );
    }
    let of_share = |share: &Passed| {
        let table = &share.gradient.tables[0];
        (table.ids.clone(), table.values.to_vec())
    };
    let parts: Vec<_> = shares.iter().map(of_share).collect();
    let table = &model.network(0).tables[0];
    let mut sum = whole.gradient.tables[0].clone();
    sum.set_to_sum(table, &parts).unwrap();
    assert_eq!(sum.ids, whole.gradient.tables[0].ids);
    let pairs = sum
        .values
        .iter()
        .zip(whole.gradient.tables[0].values.iter());
    pairs.for_each(|(&found, &expected)| assert_near(found, expected));
}

#[test]
fn shares_of_a_batch_make_the_whole() {
    for n_threads in [1, 2] {
        check(150, 2, n_threads);
        check(151, 3, n_threads);
        // Some shares are empty.
        check(3, 5, n_threads);
    }
    check(150, 1, 2);
}

//! Training in half precision: its gradients are those of single precision, but for the rounding of bfloat16.

use ncs_features::{Batch, FieldIds};
use ncs_model::{
    CounterRng, Gradient, HeadRows, Masks, Model, NetworkKind, Spec, Workspace, masks,
};
use std::sync::Arc;

const ROWS: usize = 300;

fn model(kind: NetworkKind, density: f64) -> Model {
    let fields = (0..6).map(|_| ncs_testkit::field(0)).collect();
    let spec = Spec {
        fields,
        tables: vec![ncs_testkit::table("word", 500)],
        tasks: ["ctr", "cvr"].map(String::from).into(),
        links: Vec::new(),
        plan: ncs_testkit::network(kind, 8, &[70, 30]),
    };
    let mut model = Model::new(spec, CounterRng::new(1, "weights"));
    model.network_mut(0).init_all_rows();
    if kind == NetworkKind::SparseSharing {
        let shapes = model.spec().layer_shapes();
        let mask = |task| masks::random(&shapes, density, CounterRng::new(task, "mask"));
        model.set_masks(Some(Arc::new(Masks {
            tasks: vec![mask(0), mask(1)],
            owners: None,
        })));
    }
    model
}

fn batch() -> Batch {
    let rng = CounterRng::new(2, "batch");
    let id = |i: usize| (rng.uniform(i as u64) * 500.0) as u32;
    let field = |f: usize| FieldIds {
        ids: (0..ROWS).map(|row| id(f * ROWS + row)).collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows: ROWS,
        fields: (0..6).map(field).collect(),
        ..Batch::default()
    }
}

/// The logits of both tasks and the gradients of layers and table rows.
fn learned(model: &Model, is_half: bool) -> [Vec<f32>; 3] {
    let mut subnets = model.subnets(0, &[0, 1]);
    let network = model.network(0);
    for subnet in &mut subnets {
        if is_half {
            subnet.run_in_half();
        }
        subnet.load(network);
    }
    let loss = |rows: &HeadRows<'_, f32>, gradients: &mut [f32]| {
        let logits = rows.logits.iter().zip(gradients);
        for (row, (logit, gradient)) in logits.enumerate() {
            *gradient = logit - ((rows.first + row) % 3 == rows.head) as u8 as f32;
        }
        0.0
    };
    let (mut workspace, mut gradient) = (Workspace::new(2), Gradient::default());
    network.learn(
        &batch(),
        &subnets,
        None,
        &loss,
        &mut workspace,
        &mut gradient,
    );
    let logits = [0, 1].map(|head| workspace.logits(head)).concat();
    [
        logits.into_iter().map(|logit| logit as f32).collect(),
        gradient.dense,
        gradient.tables[0].values.to_vec(),
    ]
}

/// The norm of the difference over that of `b`.
fn relative(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values
            .map(|x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt()
    };
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

#[test]
fn gradients_in_half_precision_differ_by_rounding_only() {
    for (kind, density) in [
        (NetworkKind::SparseSharing, 0.2),
        (NetworkKind::SparseSharing, 0.6),
        // Gradients of all weights, kept or not, are computed there.
        (NetworkKind::SparseSharing, 1.0),
        (NetworkKind::SharedBottom, 1.0),
        (NetworkKind::Mmoe { experts: 2 }, 1.0),
    ] {
        let model = model(kind, density);
        let (single, half) = (learned(&model, false), learned(&model, true));
        // Units near 0 are switched on in one precision and off in the other.
        for (what, (half, single)) in half.iter().zip(&single).enumerate() {
            let relative = relative(half, single);
            assert!(relative < 0.1, "{kind:?} {density} {what}: {relative}");
            assert!(
                relative > 0.0,
                "{kind:?} {density} {what} is of single precision"
            );
        }
        assert_eq!(half, learned(&model, true), "the same again");
    }
}

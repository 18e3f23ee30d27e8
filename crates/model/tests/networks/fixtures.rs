//! Tests of the forward and backward pass against fixtures of the authors' network: `../shared/reference`.

use ncs_features::Pooling;
use ncs_model::kernels::SimdLevel;
use ncs_model::{Gradient, HeadRows, Mask, Model, NetworkKind, Real, Workspace, masks};
use ncs_testkit::Reference;
use serde_json::Value;
use std::sync::Arc;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/");

fn read(file: &str) -> Option<Value> {
    let Ok(text) = std::fs::read_to_string(format!("{FOLDER}{file}")) else {
        println!("skipped: ../shared is absent");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn close(actual: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a}, expected {b}");
    }
}

fn wide<R: Real>(values: &[R]) -> Vec<f64> {
    values.iter().map(|x| x.wide()).collect()
}

fn check_gradient<R: Real>(
    fixture: &Reference,
    model: &Model<R>,
    gradient: &Gradient<R>,
    prefix: &str,
    tolerance: f64,
) {
    let layout = &model.network(0).layout;
    let dense = model.connections(0).spread(&gradient.dense);
    let ranges = layout.layers.iter().chain(&layout.heads);
    for (layer, name) in ranges.zip(["fc_0", "fc_1", "ctr", "cvr"]) {
        for (range, part) in [(&layer.weights, "w"), (&layer.bias, "b")] {
            let key = format!("{prefix}/{name}_{part}");
            let actual = wide(&dense[range.clone()]);
            match fixture.find(&key) {
                None => assert!(actual.iter().all(|&gradient| gradient == 0.0), "{key}"),
                Some(expected) => close(&actual, expected, tolerance, &key),
            }
        }
    }
    for (table, name) in gradient.tables.iter().zip(["uid", "vid", "cat", "tag"]) {
        let key = format!("{prefix}/emb/{name}");
        let expected = fixture.array(&key);
        let mut actual = vec![0.0; expected.len()];
        for (&id, gradients) in table.ids.iter().zip(table.values.chunks(4)) {
            actual[id as usize * 4..id as usize * 4 + 4].copy_from_slice(&wide(gradients));
        }
        close(&actual, expected, tolerance, &key);
    }
}

/// Returns a loss with given gradients, for each head and row.
fn fixed_gradients<R: Real>(
    gradients: &[Vec<f64>],
) -> impl Fn(&HeadRows<'_, R>, &mut [R]) -> f64 + Sync {
    |rows, actual| {
        let expected = gradients[rows.head][rows.first..].iter();
        actual
            .iter_mut()
            .zip(expected)
            .for_each(|(gradient, &expected)| *gradient = R::of(expected));
        0.0
    }
}

fn check_pool<R: Real>(
    fixture: &Reference,
    pooling: Pooling,
    pool: &str,
    level: SimdLevel,
    tolerance: f64,
) {
    let batch = fixture.batch(0);
    let mut model: Model<R> = fixture.model(NetworkKind::SparseSharing, pooling);
    let mut workspace = Workspace::at_level(1, level);
    let mut gradient = Gradient::default();
    model.set_masks(Some(Arc::new(fixture.masks())));
    for (task, name, loss, factor) in [(0, "ctr", "focal_ctr", 1.0), (1, "cvr", "wmse_cvr", 1.5)] {
        let subnets = model.subnets(0, &[task]);
        let network = model.network(0);
        network.forward(&batch, &subnets, &mut workspace);
        let prefix = format!("fwd/{pool}/{name}");
        let key = format!("{prefix}/logit_{name}");
        close(&workspace.logits(0), fixture.array(&key), tolerance, &key);
        let gradients = fixture.array(&format!("{prefix}/dlogit/{loss}"));
        let gradients = [gradients.iter().map(|gradient| factor * gradient).collect()];
        let gradients = fixed_gradients(&gradients);
        network.learn(
            &batch,
            &subnets,
            None,
            &gradients,
            &mut workspace,
            &mut gradient,
        );
        check_gradient(
            fixture,
            &model,
            &gradient,
            &format!("grad/{pool}/{name}"),
            tolerance,
        );
    }
    let model: Model<R> = fixture.model(NetworkKind::SharedBottom, pooling);
    let subnets = model.subnets(0, &[0, 1]);
    let network = model.network(0);
    network.forward(&batch, &subnets, &mut workspace);
    let prefix = format!("fwd/{pool}/none");
    for (head, name) in ["ctr", "cvr"].into_iter().enumerate() {
        let key = format!("{prefix}/logit_{name}");
        close(
            &workspace.logits(head),
            fixture.array(&key),
            tolerance,
            &key,
        );
    }
    let gradients = ["ctr", "cvr"].map(|name| {
        fixture
            .array(&format!("{prefix}/dlogit/esmm_{name}"))
            .to_vec()
    });
    let gradients = fixed_gradients(&gradients);
    network.learn(
        &batch,
        &subnets,
        None,
        &gradients,
        &mut workspace,
        &mut gradient,
    );
    check_gradient(
        fixture,
        &model,
        &gradient,
        &format!("grad/{pool}/esmm_none"),
        tolerance,
    );
}

#[test]
fn logits_and_gradients_match_the_authors_code() {
    let Some(fixture) = Reference::open() else {
        return;
    };
    for (pooling, pool) in [(Pooling::PaddedMean, "padded"), (Pooling::Mean, "masked")] {
        check_pool::<f64>(&fixture, pooling, pool, SimdLevel::best(), 1e-10);
        for level in SimdLevel::all() {
            check_pool::<f32>(&fixture, pooling, pool, level, 1e-5);
        }
    }
}

#[test]
fn pruning_matches_the_authors_code() {
    let Some(file) = read("pruning.json") else {
        return;
    };
    let numbers = |value: &Value| -> Vec<f32> {
        let list = value.as_array().unwrap();
        list.iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let shapes = |value: &Value| -> Vec<(usize, usize)> {
        let list = value.as_array().unwrap();
        list.iter()
            .map(|s| {
                (
                    s[0].as_u64().unwrap() as usize,
                    s[1].as_u64().unwrap() as usize,
                )
            })
            .collect()
    };
    let check = |mask: &[Mask], expected: &Value| {
        for (mask, expected) in mask.iter().zip(expected.as_array().unwrap()) {
            let actual: Vec<f32> = mask
                .to_bools()
                .iter()
                .map(|&kept| f32::from(u8::from(kept)))
                .collect();
            assert_eq!(actual, numbers(expected));
        }
    };
    let rounds = &file["rounds_0.2_4"];
    let rate = rounds["rate"].as_f64().unwrap();
    assert_eq!(rate, masks::round_rate(0.2, 4));
    let mut mask = masks::full(&shapes(&file["shapes"]));
    for (round, kept) in [728, 487, 326, 218].into_iter().enumerate() {
        let weights: Vec<Vec<f32>> = rounds["weights_per_round"][round]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
        mask = masks::prune_smallest(&mask, &weights, rate);
        check(&mask, &rounds["masks"][round]);
        assert_eq!(mask.iter().map(Mask::n_kept).sum::<usize>(), kept);
    }
    let ties = file
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("ties_"));
    let mut n_ties = 0;
    for (_, case) in ties {
        let weights: Vec<Vec<f32>> = case["weights"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
        let full = masks::full(&shapes(&case["shapes"]));
        check(
            &masks::prune_smallest(&full, &weights, case["rate"].as_f64().unwrap()),
            &case["masks"],
        );
        n_ties += 1;
    }
    assert_eq!(n_ties, 5);
}

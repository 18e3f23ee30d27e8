//! Models as training could have left them, and what references read of them.

use ncs_model::{CounterRng, Masks, Model, Network, Real, Subnet, masks};
use std::sync::Arc;

/// Initialises all table rows, and sets the biases of the layers, which begin at 0, by their place.
pub(crate) fn init<R: Real>(network: &mut Network<R>, bias: impl Fn(CounterRng, u64) -> f64) {
    network.init_all_rows();
    for layer in network.layout.layers.clone() {
        for i in layer.bias {
            network.dense[i] = R::of(bias(CounterRng::new(3, "bias"), i as u64));
        }
    }
}

/// A bias of either sign.
pub(crate) fn of_either_sign(rng: CounterRng, i: u64) -> f64 {
    0.3 * rng.normal(i)
}

/// A bias above 0, so that units without inputs are active.
pub(crate) fn above_zero(rng: CounterRng, i: u64) -> f64 {
    0.1 + 0.3 * rng.uniform(i)
}

/// Sets a random mask for each of two tasks.
pub(crate) fn set_random_masks<R: Real>(model: &mut Model<R>) {
    let shapes = model.spec().layer_shapes();
    let mask = |t| masks::random(&shapes, 0.6, CounterRng::new(t, "mask"));
    model.set_masks(Some(Arc::new(Masks {
        tasks: vec![mask(1), mask(2)],
        owners: None,
    })));
}

/// Returns the subnets for a batch of `rows`; the second, if there is one, runs on every third row only.
pub(crate) fn subnets(
    model: &Model<f64>,
    network: usize,
    tasks: &[usize],
    rows: usize,
) -> Vec<Subnet<f64>> {
    let some: Vec<u32> = (0..rows as u32).step_by(3).collect();
    let mut subnets = model.subnets(network, tasks);
    if let Some(second) = subnets.get_mut(1) {
        second.run_on(Some(some));
    }
    subnets
}

/// Returns the logit of a head from the units that it reads.
pub(crate) fn logit(network: &Network<f64>, head: usize, units: &[f64]) -> f64 {
    let head = &network.layout.heads[head];
    let weights = network.dense[head.weights.clone()].iter();
    let products = units.iter().zip(weights).map(|(x, w)| x * w);
    network.dense[head.bias.start] + products.sum::<f64>()
}

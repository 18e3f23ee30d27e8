//! From logits to calibrated probabilities, in the scorer's order: logit transfer, outputs of one task joined, sigmoid, quotient, calibrator,
//! product. Logits and calibrators are in double precision, probabilities in single precision, as in the scorer.

use crate::builder::{GraphBuilder, Value, int};
use crate::proto::element;
use ncs_features::{Link, zero_inflated};
use ncs_model::{Calibrator, FrozenNetwork, Scorer, logit};

/// Returns the uncalibrated probabilities, `float [batch, 1]`, of the tasks that a network scores, by the task's
/// number; `logits` are those of its tasks.
pub(crate) fn probabilities(
    graph: &mut GraphBuilder,
    scorer: &Scorer,
    frozen: &FrozenNetwork,
    logits: Vec<(usize, Value)>,
) -> Vec<(usize, Value)> {
    let spec = scorer.spec();
    let double = |(task, value)| (task, graph.cast("logit", &value, element::DOUBLE));
    let mut logits: Vec<(usize, Value)> = logits.into_iter().map(double).collect();
    let of = |values: &[(usize, Value)], task: usize| {
        let mut values = values.iter();
        values
            .find(|(other, _)| *other == task)
            .map(|(_, value)| value.clone())
    };
    if let Some(([from, to], taken)) = frozen.network.taken()
        && let (Some(other), Some(own)) = (of(&logits, from), of(&logits, to))
    {
        let (mean, kappa) = (graph.double(taken.mean), graph.double(taken.kappa));
        let centred = graph.node("Sub", "taken/centred", &[&other, &mean]);
        let part = graph.node("Mul", "taken/part", &[&centred, &kappa]);
        let sum = graph.node("Add", "taken/logit", &[&own, &part]);
        let mut logits = logits.iter_mut();
        logits
            .find(|(task, _)| *task == to)
            .into_iter()
            .for_each(|(_, value)| value.clone_from(&sum));
    }
    for task in 0..spec.tasks.len() {
        let mut further = spec.further_outputs(task).map(|head| of(&logits, head));
        if let (Some(Some(mu)), Some(Some(s))) = (further.next(), further.next()) {
            let own = logits.iter_mut().filter(|(head, _)| *head == task);
            own.for_each(|(_, a)| *a = log_mean(graph, [a, &mu, &s]));
        }
    }
    logits.retain(|(head, _)| *head < spec.tasks.len());
    let probability = |(task, z): (usize, Value)| {
        let p = prediction(graph, spec.link(task), &z);
        (
            task,
            graph.cast(
                &format!("{}/probability", spec.tasks[task]),
                &p,
                element::FLOAT,
            ),
        )
    };
    let mut found: Vec<(usize, Value)> = logits.into_iter().map(probability).collect();
    if let Some([first, second]) = spec.plan.heads.joint
        && let (Some(of_first), Some(joint)) = (of(&found, first), of(&found, second))
    {
        let quotient = quotient(graph, &joint, &of_first);
        let mut found = found.iter_mut();
        found
            .find(|(task, _)| *task == second)
            .into_iter()
            .for_each(|(_, value)| value.clone_from(&quotient));
    }
    found.retain(|(task, _)| frozen.scored.contains(task));
    found
}

/// The logarithm of the mean of a value that is 0 or log-normal; see [`zero_inflated::log_mean`].
fn log_mean(graph: &mut GraphBuilder, [a, mu, s]: [&Value; 3]) -> Value {
    let (least, half) = (graph.double(zero_inflated::LEAST_SIGMA), graph.double(0.5));
    let sigma = softplus(graph, "ziln/sigma", s);
    let sigma = graph.node("Max", "ziln/sigma_at_least", &[&sigma, &least]);
    let variance = graph.node("Mul", "ziln/variance", &[&sigma, &sigma]);
    let half = graph.node("Mul", "ziln/half_variance", &[&variance, &half]);
    let of_amount = graph.node("Add", "ziln/of_amount", &[mu, &half]);
    let negative = graph.node("Neg", "ziln/negative", &[a]);
    let rarity = softplus(graph, "ziln/rarity", &negative);
    graph.node("Sub", "ziln/log_mean", &[&of_amount, &rarity])
}

/// `ln(1 + e^x)`, without overflow.
fn softplus(graph: &mut GraphBuilder, name: &str, x: &Value) -> Value {
    let (zero, one) = (graph.double(0.0), graph.double(1.0));
    let size = graph.node("Abs", &format!("{name}/size"), &[x]);
    let size = graph.node("Neg", &format!("{name}/minus_size"), &[&size]);
    let power = graph.node("Exp", &format!("{name}/power"), &[&size]);
    let sum = graph.node("Add", &format!("{name}/sum"), &[&power, &one]);
    let log = graph.node("Log", &format!("{name}/log"), &[&sum]);
    let above_0 = graph.node("Max", &format!("{name}/above_0"), &[x, &zero]);
    graph.node("Add", name, &[&above_0, &log])
}

/// The prediction of an output of the network; see [`Link::value`].
fn prediction(graph: &mut GraphBuilder, link: Link, z: &Value) -> Value {
    match link {
        Link::Sigmoid => sigmoid(graph, z),
        Link::Linear { centre, scale } => {
            let (centre, scale) = (graph.double(centre), graph.double(scale));
            let scaled = graph.node("Mul", "linear/scaled", &[z, &scale]);
            graph.node("Add", "linear/value", &[&scaled, &centre])
        }
        Link::Exponential { scale } => {
            let (scale, most) = (graph.double(scale), graph.double(f64::from(f32::MAX)));
            let power = graph.node("Exp", "exponential/power", &[z]);
            let scaled = graph.node("Mul", "exponential/scaled", &[&power, &scale]);
            graph.node("Min", "exponential/value", &[&scaled, &most])
        }
    }
}

/// `1 / (1 + e^-z)`: for large `-z` the power is infinite and the result 0.
fn sigmoid(graph: &mut GraphBuilder, z: &Value) -> Value {
    let one = graph.double(1.0);
    let negative = graph.node("Neg", "sigmoid/negative", &[z]);
    let power = graph.node("Exp", "sigmoid/power", &[&negative]);
    let sum = graph.node("Add", "sigmoid/sum", &[&power, &one]);
    graph.node("Div", "sigmoid/value", &[&one, &sum])
}

/// The probability of the second task given the first, at most 1.
fn quotient(graph: &mut GraphBuilder, joint: &Value, first: &Value) -> Value {
    let least = graph.floats("least_positive", &[], vec![f32::MIN_POSITIVE]);
    let one = graph.floats("one", &[], vec![1.0]);
    let divisor = graph.node("Max", "quotient/divisor", &[first, &least]);
    let quotient = graph.node("Div", "quotient/value", &[joint, &divisor]);
    graph.node("Min", "quotient/at_most_1", &[&quotient, &one])
}

/// Adds the calibrator of a task.
pub(crate) fn calibrated(
    graph: &mut GraphBuilder,
    p: &Value,
    calibrator: Option<&Calibrator>,
) -> Value {
    match calibrator {
        None => p.clone(),
        Some(Calibrator::Platt { slope, offset }) => platt(graph, p, *slope, *offset),
        Some(Calibrator::Isotonic { at, to }) => isotonic(graph, p, at, to),
    }
}

/// The sigmoid of `slope * logit(p) + offset`; the logit is clipped as by [`logit`].
fn platt(graph: &mut GraphBuilder, p: &Value, slope: f64, offset: f64) -> Value {
    let one = graph.double(1.0);
    let (least, most) = (graph.double(logit(0.0)), graph.double(logit(1.0)));
    let (slope, offset) = (graph.double(slope), graph.double(offset));
    let p = graph.cast("platt/p", p, element::DOUBLE);
    let rest = graph.node("Sub", "platt/rest", &[&one, &p]);
    let odds = graph.node("Div", "platt/odds", &[&p, &rest]);
    let z = graph.node("Log", "platt/log_odds", &[&odds]);
    let z = graph.node("Clip", "platt/logit", &[&z, &least, &most]);
    let z = graph.node("Mul", "platt/scaled", &[&z, &slope]);
    let z = graph.node("Add", "platt/shifted", &[&z, &offset]);
    let p = sigmoid(graph, &z);
    graph.cast("platt/calibrated", &p, element::FLOAT)
}

/// Linear interpolation between points, constant outside: the piece of a probability is the number of points that are
/// not above it, and each piece has a start, a width, a low and a high end.
fn isotonic(graph: &mut GraphBuilder, p: &Value, at: &[f32], to: &[f32]) -> Value {
    let n = at.len();
    let (first, last) = (to[0], to[n - 1]);
    let column = |front: f32, inner: &mut dyn Iterator<Item = f32>, back: f32| -> Vec<f32> {
        std::iter::once(front).chain(inner).chain([back]).collect()
    };
    // Outside the points nothing is added, whatever the distance.
    let starts = column(at[0], &mut at[..n - 1].iter().copied(), at[n - 1]);
    let widths = column(1.0, &mut at.windows(2).map(|pair| pair[1] - pair[0]), 1.0);
    let lows = column(first, &mut to[..n - 1].iter().copied(), last);
    let highs = column(first, &mut to[1..].iter().copied(), last);
    let points = graph.floats("isotonic/at", &[n], at.to_vec());
    let passed = graph.node("GreaterOrEqual", "isotonic/passed", &[p, &points]);
    let passed = graph.cast("isotonic/passed_as_1", &passed, element::INT32);
    let piece = graph.sum("isotonic/piece", &passed, 1, true);
    let mut of_piece = |name: &str, values: Vec<f32>| {
        let values = graph.floats(&format!("isotonic/{name}"), &[n + 1], values);
        let axis = vec![int("axis", 0)];
        graph.node_with(
            "Gather",
            &format!("isotonic/{name}_of"),
            &[&values, &piece],
            axis,
        )
    };
    let (start, width) = (of_piece("starts", starts), of_piece("widths", widths));
    let (low, high) = (of_piece("lows", lows), of_piece("highs", highs));
    let beyond = graph.node("Sub", "isotonic/beyond", &[p, &start]);
    let fraction = graph.node("Div", "isotonic/fraction", &[&beyond, &width]);
    let rise = graph.node("Sub", "isotonic/rise", &[&high, &low]);
    let added = graph.node("Mul", "isotonic/added", &[&fraction, &rise]);
    let value = graph.node("Add", "isotonic/value", &[&low, &added]);
    let value = graph.node("Max", "isotonic/at_least", &[&value, &low]);
    graph.node("Min", "isotonic/calibrated", &[&value, &high])
}

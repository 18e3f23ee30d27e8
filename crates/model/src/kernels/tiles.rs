//! What a pass does to tiles beside the products of layers.

use super::{LANES, Lanes, Level};
use crate::number::Real;

/// Rows into lanes: `lanes[d][r] = rows[r, d]` for `dim` features, `rows` being `[n_rows, dim]`. Lanes
/// without a row become 0.
pub fn into_lanes<R: Real>(level: Level, rows: &[R], dim: usize, lanes: &mut [Lanes<R>]) {
    let _ = level;
    assert_eq!(lanes.len(), dim);
    assert!(rows.len() <= LANES * dim);
    lanes.fill(Lanes::all(R::ZERO));
    for (r, row) in rows.chunks_exact(dim).enumerate() {
        lanes
            .iter_mut()
            .zip(row)
            .for_each(|(lane, &value)| lane.0[r] = value);
    }
}

/// Lanes into rows: `rows[r * step + d]` becomes, or with `add` grows by, `lanes[d][r]`, for the first
/// `n_rows` lanes.
pub fn into_rows<R: Real>(
    level: Level,
    lanes: &[Lanes<R>],
    n_rows: usize,
    step: usize,
    add: bool,
    rows: &mut [R],
) {
    let _ = level;
    assert!(n_rows <= LANES && lanes.len() <= step);
    for (r, row) in rows.chunks_mut(step).take(n_rows).enumerate() {
        for (value, lane) in row.iter_mut().zip(lanes) {
            *value = if add { *value + lane.0[r] } else { lane.0[r] };
        }
    }
}

/// The upper triangle of the Gram matrix of `fields` vectors, row by row: `gram[at] = e_i . e_j` for
/// `i <= j`. `vectors` is `[fields, dim]` lanes.
pub fn gram<R: Real>(
    level: Level,
    fields: usize,
    dim: usize,
    vectors: &[Lanes<R>],
    gram: &mut [Lanes<R>],
) {
    let _ = level;
    assert_eq!(vectors.len(), fields * dim);
    assert_eq!(gram.len(), fields * (fields + 1) / 2);
    let mut at = 0;
    for i in 0..fields {
        for j in i..fields {
            let mut sum = Lanes::all(R::ZERO);
            for d in 0..dim {
                let (a, b) = (&vectors[i * dim + d].0, &vectors[j * dim + d].0);
                for ((sum, &a), &b) in sum.0.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
            gram[at] = sum;
            at += 1;
        }
    }
}

/// Adds to the slopes of the vectors what those of the Gram matrix say: `de_i += dc_ij e_j`,
/// `de_j += dc_ij e_i`.
pub fn gram_backward<R: Real>(
    level: Level,
    fields: usize,
    dim: usize,
    vectors: &[Lanes<R>],
    d_gram: &[Lanes<R>],
    d_vectors: &mut [Lanes<R>],
) {
    let _ = level;
    assert_eq!(vectors.len(), fields * dim);
    assert_eq!(d_vectors.len(), fields * dim);
    assert_eq!(d_gram.len(), fields * (fields + 1) / 2);
    let mut at = 0;
    for i in 0..fields {
        for j in i..fields {
            let slope = d_gram[at].0;
            at += 1;
            for d in 0..dim {
                for (lane, &slope) in slope.iter().enumerate() {
                    let (a, b) = (vectors[i * dim + d].0[lane], vectors[j * dim + d].0[lane]);
                    d_vectors[i * dim + d].0[lane] += slope * b;
                    d_vectors[j * dim + d].0[lane] += slope * a;
                }
            }
        }
    }
}

/// Back through ReLU and dropout: the slope of a unit that is off or dropped (`y` is not positive)
/// becomes 0, others grow by `scale`; their sums over lanes are added to `sums`, one for each unit.
pub fn rectify_backward<R: Real>(
    level: Level,
    scale: R,
    y: &[Lanes<R>],
    dy: &mut [Lanes<R>],
    sums: &mut [R],
) {
    let _ = level;
    assert_eq!(y.len(), dy.len());
    assert_eq!(y.len(), sums.len());
    for ((y, dy), sum) in y.iter().zip(dy).zip(sums) {
        for (dy, &y) in dy.0.iter_mut().zip(&y.0) {
            *dy = if y > R::ZERO { *dy * scale } else { R::ZERO };
        }
        *sum += dy.0.iter().copied().sum();
    }
}

/// A head: `bias + sum of weights * h`, for each lane.
pub fn head<R: Real>(level: Level, bias: R, weights: &[R], h: &[Lanes<R>]) -> Lanes<R> {
    let _ = level;
    assert_eq!(weights.len(), h.len());
    let mut logits = Lanes::all(bias);
    for (&weight, h) in weights.iter().zip(h) {
        for (logit, &h) in logits.0.iter_mut().zip(&h.0) {
            *logit += weight * h;
        }
    }
    logits
}

/// Back through a head: adds `slopes * weights` to the slopes of its inputs `h`, and `slopes . h` to
/// those of the weights.
pub fn head_backward<R: Real>(
    level: Level,
    weights: &[R],
    slopes: &Lanes<R>,
    h: &[Lanes<R>],
    dh: &mut [Lanes<R>],
    sums: &mut [R],
) {
    let _ = level;
    assert_eq!(weights.len(), h.len());
    assert_eq!(weights.len(), dh.len());
    assert_eq!(weights.len(), sums.len());
    for (((&weight, h), dh), sum) in weights.iter().zip(h).zip(dh).zip(sums) {
        let mut total = R::ZERO;
        for ((dh, &h), &slope) in dh.0.iter_mut().zip(&h.0).zip(&slopes.0) {
            *dh += weight * slope;
            total += slope * h;
        }
        *sum += total;
    }
}

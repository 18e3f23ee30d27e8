//! Features as direct inputs of the first layer. Numbers: from the encoded values ([`ncs_features::piecewise`]) to the
//! pieces, the standardised number, the standardised logarithm and a missing-value indicator. Vectors: their
//! numbers and the indicator. Nothing here is trained, so there is no backward pass.

use crate::kernels::{LANES, Lanes};
use crate::number::Real;
use ncs_features::FieldIds;
use ncs_features::piecewise::PER_ROW;

/// Number of inputs beside the pieces: the standardised number, the standardised logarithm, the missing-value
/// indicator.
pub(crate) const BESIDE_PIECES: usize = 3;

/// Fills the inputs of one field for some rows of a tile, `[pieces + 3]` or `[length + 1]`; other lanes are 0. `ids`
/// holds the encoded values of all rows of the batch, and `is_vector` is true for vectors.
pub(crate) fn fill_lanes<R: Real>(
    is_vector: bool,
    ids: &FieldIds,
    rows: impl ExactSizeIterator<Item = usize>,
    inputs: &mut [Lanes<R>],
) {
    inputs.fill(Lanes::all(R::ZERO));
    if is_vector {
        vector_lanes(ids, rows, inputs);
    } else {
        piece_lanes(&ids.numbers, rows, inputs);
    }
}

fn vector_lanes<R: Real>(
    ids: &FieldIds,
    rows: impl Iterator<Item = usize>,
    inputs: &mut [Lanes<R>],
) {
    let length = inputs.len() - 1;
    for (lane, row) in rows.enumerate() {
        let numbers = ids.numbers_of(row);
        if numbers[0].is_nan() {
            inputs[length].0[lane] = R::ONE;
            continue;
        }
        for (input, &number) in inputs[..length].iter_mut().zip(numbers) {
            input.0[lane] = R::of(f64::from(number));
        }
    }
}

fn piece_lanes<R: Real>(
    numbers: &[f32],
    rows: impl Iterator<Item = usize>,
    inputs: &mut [Lanes<R>],
) {
    let mut places = [R::ZERO; LANES];
    let pieces = inputs.len() - BESIDE_PIECES;
    for (lane, row) in rows.enumerate() {
        let [place, standard, log] = of_row(numbers, row);
        // A missing number has no piece: the comparisons of `piece` are false.
        places[lane] = R::of(f64::from(place));
        inputs[pieces].0[lane] = R::of(f64::from(standard));
        inputs[pieces + 1].0[lane] = R::of(f64::from(log));
        inputs[pieces + 2].0[lane] = if place.is_nan() { R::ONE } else { R::ZERO };
    }
    for (k, input) in inputs[..pieces].iter_mut().enumerate() {
        let first = R::of(k as f64);
        for (value, &place) in input.0.iter_mut().zip(&places) {
            *value = piece(place - first);
        }
    }
}

/// Like [`fill_lanes`], for one row.
pub(crate) fn fill_row(is_vector: bool, ids: &FieldIds, row: usize, inputs: &mut [f32]) {
    if is_vector {
        let (numbers, missing) = inputs.split_at_mut(inputs.len() - 1);
        let vector = ids.numbers_of(row);
        let is_missing = vector[0].is_nan();
        if is_missing {
            numbers.fill(0.0)
        } else {
            numbers.copy_from_slice(vector)
        }
        return missing.fill(f32::from(u8::from(is_missing)));
    }
    let numbers = &ids.numbers;
    let [place, standard, log] = of_row(numbers, row);
    let (pieces, beside) = inputs.split_at_mut(inputs.len() - BESIDE_PIECES);
    for (k, input) in pieces.iter_mut().enumerate() {
        *input = piece(place - k as f32);
    }
    beside.copy_from_slice(&[standard, log, f32::from(u8::from(place.is_nan()))]);
}

fn of_row(numbers: &[f32], row: usize) -> [f32; PER_ROW] {
    let first = row * PER_ROW;
    std::array::from_fn(|i| numbers[first + i])
}

/// Clamps `x` to [0, 1]; NaN becomes 0.
#[inline]
fn piece<R: Real>(x: R) -> R {
    if x > R::ONE {
        R::ONE
    } else if x > R::ZERO {
        x
    } else {
        R::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_fills_the_pieces_below_it() {
        let numbers = FieldIds {
            numbers: vec![1.25, -0.5, 2.0, f32::NAN, 0.0, 0.0],
            ..FieldIds::of_numbers(PER_ROW)
        };
        let mut row = [9.0; 6];
        fill_row(false, &numbers, 0, &mut row);
        assert_eq!(row, [1.0, 0.25, 0.0, -0.5, 2.0, 0.0]);
        fill_row(false, &numbers, 1, &mut row);
        assert_eq!(row, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let mut lanes = vec![Lanes::all(9.0_f64); 6];
        fill_lanes(false, &numbers, [1, 0].into_iter(), &mut lanes);
        let lane = |lane: usize| -> Vec<f64> { lanes.iter().map(|input| input.0[lane]).collect() };
        assert_eq!(lane(0), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(lane(1), [1.0, 0.25, 0.0, -0.5, 2.0, 0.0]);
        assert_eq!(lane(2), [0.0; 6]);
    }

    #[test]
    fn a_vector_fills_its_inputs_and_a_missing_one_the_indicator() {
        let vectors = FieldIds {
            numbers: vec![0.5, -2.0, f32::NAN, 0.0],
            ..FieldIds::of_numbers(2)
        };
        let mut row = [9.0; 3];
        fill_row(true, &vectors, 0, &mut row);
        assert_eq!(row, [0.5, -2.0, 0.0]);
        fill_row(true, &vectors, 1, &mut row);
        assert_eq!(row, [0.0, 0.0, 1.0]);
        let mut lanes = vec![Lanes::all(9.0_f64); 3];
        fill_lanes(true, &vectors, [1, 0].into_iter(), &mut lanes);
        let lane = |lane: usize| -> Vec<f64> { lanes.iter().map(|input| input.0[lane]).collect() };
        assert_eq!(lane(0), [0.0, 0.0, 1.0]);
        assert_eq!(lane(1), [0.5, -2.0, 0.0]);
        assert_eq!(lane(2), [0.0; 3]);
    }
}

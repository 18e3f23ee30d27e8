//! Operations on tiles other than the products of layers: transposition, Gram matrix, ReLU backward, heads.

mod gram;
#[cfg(test)]
mod tests;
mod transpose;
mod units;

#[cfg(target_arch = "x86_64")]
use super::simd_level::Isa;
use super::versions::run;
use super::{LANES, Lanes, SimdLevel};
use crate::number::Real;

/// Transposes rows into lanes: `lanes[d][r] = rows[r, d]` for `dim` features, `rows` being `[n_rows, dim]`. Lanes
/// without a row are set to 0.
///
/// # Panics
/// If there are more than 64 rows, or `lanes` is not `dim` long.
pub fn into_lanes<R: Real>(level: SimdLevel, rows: &[R], dim: usize, lanes: &mut [Lanes<R>]) {
    assert_eq!(lanes.len(), dim, "lanes of another length");
    assert!(rows.len() <= LANES * dim, "more rows than lanes");
    if dim == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if level.isa() == Isa::Avx512
        && let (Some(rows), Some(lanes)) = (same(rows), same_mut(&mut *lanes))
    {
        // SAFETY: this level exists only if the processor has AVX-512.
        return unsafe { transpose::avx512::into_lanes(transpose::IntoLanes { rows, dim, lanes }) };
    }
    run(level, transpose::IntoLanes { rows, dim, lanes });
}

/// Transposes lanes into rows: sets `rows[r * step + d] = lanes[d][r]`, or adds with `add`, for the first
/// `n_rows` lanes. The last row may end after its last feature.
///
/// # Panics
/// If there are more than 64 rows, rows overlap, or `rows` is too short.
pub fn into_rows<R: Real>(
    level: SimdLevel,
    lanes: &[Lanes<R>],
    n_rows: usize,
    step: usize,
    add: bool,
    rows: &mut [R],
) {
    assert!(n_rows <= LANES, "more rows than lanes");
    assert!(lanes.len() <= step, "rows overlap");
    if n_rows == 0 || lanes.is_empty() {
        return;
    }
    assert!(
        rows.len() >= (n_rows - 1) * step + lanes.len(),
        "no room for the rows"
    );
    #[cfg(target_arch = "x86_64")]
    if level.isa() == Isa::Avx512
        && let (Some(lanes), Some(rows)) = (same(lanes), same_mut(&mut *rows))
    {
        let kernel = transpose::IntoRows {
            lanes,
            n_rows,
            step,
            add,
            rows,
        };
        // SAFETY: this level exists only if the processor has AVX-512.
        return unsafe { transpose::avx512::into_rows(kernel) };
    }
    let kernel = transpose::IntoRows {
        lanes,
        n_rows,
        step,
        add,
        rows,
    };
    run(level, kernel);
}

/// Computes the upper triangle of the Gram matrix of `fields` vectors, row by row: `gram[at] = e_i . e_j` for
/// `i <= j`. `vectors` is `[fields, step]` lanes, of which the first `dim` of each vector count.
///
/// # Panics
/// If a slice has a wrong length.
pub fn gram<R: Real>(
    level: SimdLevel,
    fields: usize,
    [step, dim]: [usize; 2],
    vectors: &[Lanes<R>],
    gram: &mut [Lanes<R>],
) {
    assert!(dim <= step, "more numbers than a vector has");
    assert_eq!(vectors.len(), fields * step, "other vectors");
    assert_eq!(gram.len(), fields * (fields + 1) / 2, "another triangle");
    let kernel = gram::Forward {
        fields,
        step,
        dim,
        vectors,
        gram,
    };
    run(level, kernel);
}

/// Computes the Gram matrix between vectors that are the same in all lanes and vectors of each lane:
/// `gram[i * fields + j] = c_i . e_j`. `constants` is `[_, step]`, `vectors` `[fields, step]` lanes; the first `dim` of each
/// vector count.
///
/// # Panics
/// If a slice has a wrong length.
pub fn gram_across<R: Real>(
    level: SimdLevel,
    [step, dim]: [usize; 2],
    constants: &[R],
    vectors: &[Lanes<R>],
    gram: &mut [Lanes<R>],
) {
    assert!(0 < dim && dim <= step, "vectors of another length");
    let (n_constants, fields) = (constants.len() / step, vectors.len() / step);
    assert_eq!(constants.len(), n_constants * step, "other constants");
    assert_eq!(vectors.len(), fields * step, "other vectors");
    assert_eq!(gram.len(), n_constants * fields, "another matrix");
    let kernel = gram::Across {
        step,
        dim,
        constants,
        vectors,
        gram,
    };
    run(level, kernel);
}

/// Backpropagates the gradients of the Gram matrix to those of the vectors: `de_i += dc_ij e_j`,
/// `de_j += dc_ij e_i`, for the first `dim` of each vector of `step` numbers.
///
/// # Panics
/// If a slice has a wrong length.
pub fn gram_backward<R: Real>(
    level: SimdLevel,
    fields: usize,
    [step, dim]: [usize; 2],
    vectors: &[Lanes<R>],
    d_gram: &[Lanes<R>],
    d_vectors: &mut [Lanes<R>],
) {
    assert!(dim <= step, "more numbers than a vector has");
    assert_eq!(vectors.len(), fields * step, "other vectors");
    assert_eq!(d_vectors.len(), fields * step, "gradients of other vectors");
    assert_eq!(d_gram.len(), fields * (fields + 1) / 2, "another triangle");
    let kernel = gram::Backward {
        fields,
        step,
        dim,
        vectors,
        d_gram,
        d_vectors,
    };
    run(level, kernel);
}

/// Backpropagates through ReLU and dropout: the gradient of an inactive or dropped unit (`y` is not positive)
/// becomes 0, others are multiplied by `scale`; their sums over lanes are added to `sums`, one for each unit.
///
/// # Panics
/// If the slices are of different lengths.
pub fn rectify_backward<R: Real>(
    level: SimdLevel,
    scale: R,
    y: &[Lanes<R>],
    dy: &mut [Lanes<R>],
    sums: &mut [R],
) {
    assert_eq!(y.len(), dy.len(), "gradients of another layer");
    assert_eq!(y.len(), sums.len(), "sums of another layer");
    let kernel = units::RectifyBackward { scale, y, dy, sums };
    run(level, kernel);
}

/// Computes a head, `bias + sum of weights * h`, for each lane.
///
/// # Panics
/// If the number of weights is not that of the units.
pub fn head<R: Real>(level: SimdLevel, bias: R, weights: &[R], h: &[Lanes<R>]) -> Lanes<R> {
    assert_eq!(weights.len(), h.len(), "weights of another head");
    run(level, units::Head { bias, weights, h })
}

/// Backpropagates through a head: adds `gradients * weights` to the gradients of its inputs `h`, and `gradients . h` to
/// those of the weights.
///
/// # Panics
/// If the slices are of different lengths.
pub fn head_backward<R: Real>(
    level: SimdLevel,
    weights: &[R],
    gradients: &Lanes<R>,
    h: &[Lanes<R>],
    dh: &mut [Lanes<R>],
    sums: &mut [R],
) {
    assert_eq!(weights.len(), h.len(), "weights of another head");
    assert_eq!(weights.len(), dh.len(), "gradients of another layer");
    assert_eq!(weights.len(), sums.len(), "sums of another head");
    let kernel = units::HeadBackward {
        weights,
        gradients,
        h,
        dh,
        sums,
    };
    run(level, kernel);
}

#[cfg(target_arch = "x86_64")]
/// Returns the same values if `A` and `B` are the same type.
pub(super) fn same<A: 'static, B: 'static>(values: &[A]) -> Option<&[B]> {
    let is_same = std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>();
    // SAFETY: the types are the same, and so are lifetime and length.
    is_same.then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

#[cfg(target_arch = "x86_64")]
/// Like [`same`], for mutable slices.
pub(super) fn same_mut<A: 'static, B: 'static>(values: &mut [A]) -> Option<&mut [B]> {
    let is_same = std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>();
    let (first, len) = (values.as_mut_ptr().cast(), values.len());
    // SAFETY: the types are the same, and so are lifetime and length; the borrow is passed on.
    is_same.then(|| unsafe { std::slice::from_raw_parts_mut(first, len) })
}

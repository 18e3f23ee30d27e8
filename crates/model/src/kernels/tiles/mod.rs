//! What a pass does to tiles beside the products of layers.

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

/// Rows into lanes: `lanes[d][r] = rows[r, d]` for `dim` features, `rows` being `[n_rows, dim]`. Lanes
/// without a row become 0.
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
    if level.set() == Isa::Avx512
        && let (Some(rows), Some(lanes)) = (same(rows), same_mut(&mut *lanes))
    {
        // SAFETY: this level is made only where the processor has AVX-512.
        return unsafe { transpose::avx512::into_lanes(transpose::IntoLanes { rows, dim, lanes }) };
    }
    run(level, transpose::IntoLanes { rows, dim, lanes });
}

/// Lanes into rows: `rows[r * step + d]` becomes, or with `add` grows by, `lanes[d][r]`, for the first
/// `n_rows` lanes. The last row may end with its last feature.
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
    if level.set() == Isa::Avx512
        && let (Some(lanes), Some(rows)) = (same(lanes), same_mut(&mut *rows))
    {
        let work = transpose::IntoRows {
            lanes,
            n_rows,
            step,
            add,
            rows,
        };
        // SAFETY: this level is made only where the processor has AVX-512.
        return unsafe { transpose::avx512::into_rows(work) };
    }
    let work = transpose::IntoRows {
        lanes,
        n_rows,
        step,
        add,
        rows,
    };
    run(level, work);
}

/// The upper triangle of the Gram matrix of `fields` vectors, row by row: `gram[at] = e_i . e_j` for
/// `i <= j`. `vectors` is `[fields, dim]` lanes.
///
/// # Panics
/// If a slice is of another length.
pub fn gram<R: Real>(
    level: SimdLevel,
    fields: usize,
    dim: usize,
    vectors: &[Lanes<R>],
    gram: &mut [Lanes<R>],
) {
    assert_eq!(vectors.len(), fields * dim, "other vectors");
    assert_eq!(gram.len(), fields * (fields + 1) / 2, "another triangle");
    let work = gram::Forward {
        fields,
        dim,
        vectors,
        gram,
    };
    run(level, work);
}

/// The Gram matrix between vectors that are the same in all lanes and those of the lanes:
/// `gram[i * fields + j] = c_i . e_j`. `constants` is `[_, dim]`, `vectors` `[fields, dim]` lanes.
///
/// # Panics
/// If a slice is of another length.
pub fn gram_across<R: Real>(
    level: SimdLevel,
    dim: usize,
    constants: &[R],
    vectors: &[Lanes<R>],
    gram: &mut [Lanes<R>],
) {
    assert!(dim > 0, "vectors without length");
    let (n_constants, fields) = (constants.len() / dim, vectors.len() / dim);
    assert_eq!(constants.len(), n_constants * dim, "other constants");
    assert_eq!(vectors.len(), fields * dim, "other vectors");
    assert_eq!(gram.len(), n_constants * fields, "another matrix");
    let work = gram::Across {
        dim,
        constants,
        vectors,
        gram,
    };
    run(level, work);
}

/// Adds to the gradients of the vectors what those of the Gram matrix say: `de_i += dc_ij e_j`,
/// `de_j += dc_ij e_i`.
///
/// # Panics
/// If a slice is of another length.
pub fn gram_backward<R: Real>(
    level: SimdLevel,
    fields: usize,
    dim: usize,
    vectors: &[Lanes<R>],
    d_gram: &[Lanes<R>],
    d_vectors: &mut [Lanes<R>],
) {
    assert_eq!(vectors.len(), fields * dim, "other vectors");
    assert_eq!(d_vectors.len(), fields * dim, "gradients of other vectors");
    assert_eq!(d_gram.len(), fields * (fields + 1) / 2, "another triangle");
    let work = gram::Backward {
        fields,
        dim,
        vectors,
        d_gram,
        d_vectors,
    };
    run(level, work);
}

/// Back through ReLU and dropout: the gradient of a unit that is off or dropped (`y` is not positive)
/// becomes 0, others grow by `scale`; their sums over lanes are added to `sums`, one for each unit.
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
    let work = units::RectifyBackward { scale, y, dy, sums };
    run(level, work);
}

/// A head: `bias + sum of weights * h`, for each lane.
///
/// # Panics
/// If there is not one weight for each unit.
pub fn head<R: Real>(level: SimdLevel, bias: R, weights: &[R], h: &[Lanes<R>]) -> Lanes<R> {
    assert_eq!(weights.len(), h.len(), "weights of another head");
    run(level, units::Head { bias, weights, h })
}

/// Back through a head: adds `gradients * weights` to the gradients of its inputs `h`, and `gradients . h` to
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
    let work = units::HeadBackward {
        weights,
        gradients,
        h,
        dh,
        sums,
    };
    run(level, work);
}

#[cfg(target_arch = "x86_64")]
/// The same values, where `A` and `B` are the same type.
pub(super) fn same<A: 'static, B: 'static>(values: &[A]) -> Option<&[B]> {
    let is_same = std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>();
    // SAFETY: the types are the same, and so are lifetime and length.
    is_same.then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

#[cfg(target_arch = "x86_64")]
/// As [`same`].
pub(super) fn same_mut<A: 'static, B: 'static>(values: &mut [A]) -> Option<&mut [B]> {
    let is_same = std::any::TypeId::of::<A>() == std::any::TypeId::of::<B>();
    let (first, len) = (values.as_mut_ptr().cast(), values.len());
    // SAFETY: the types are the same, and so are lifetime and length; the borrow is passed on.
    is_same.then(|| unsafe { std::slice::from_raw_parts_mut(first, len) })
}

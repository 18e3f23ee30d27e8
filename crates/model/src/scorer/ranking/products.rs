//! Inner products of the vectors of one row.

/// Passes the upper triangle of the Gram matrix of vectors of `step` numbers, of which the first `dim` count, to `on_product`,
/// row by row.
pub(super) fn triangle(vectors: &[f32], [step, dim]: [usize; 2], mut on_product: impl FnMut(f32)) {
    for (i, one) in vectors.chunks_exact(step).enumerate() {
        for other in vectors[i * step..].chunks_exact(step) {
            on_product(dot(&one[..dim], &other[..dim]));
        }
    }
}

/// Returns the inner product of two vectors.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a.1.iter().zip(b.1).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

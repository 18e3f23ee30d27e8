//! The product for AVX-512 with bfloat16: the 64 lanes of a tile are two vectors of inputs and four vectors of sums.

use super::{HalfOutputs, HalfStart, HalfTile, PATTERNS};
use crate::kernels::LANES;
use crate::kernels::sparse::buckets::GROUP;
use crate::kernels::sparse::half_lanes::avx512::{VECTOR, dot, unroll};
use std::arch::x86_64::*;

/// Computes one tile of [`super::HalfPairs::run`].
///
/// Pairs are formed by interleaving two vectors of inputs, which changes the order of lanes in the sums;
/// the order is restored when they are written.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL, BF16), and the lengths of the slices must match the product.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn product(tile: HalfTile<'_>) {
    let HalfTile {
        pairs: product,
        operands,
        x,
        buffer,
        mut y,
    } = tile;
    let n_blocks = product.inputs.div_ceil(product.length).max(1);
    let mut counts = product.counts.as_ptr();
    let mut places = product.places.as_ptr();
    let mut weights = operands.weights.as_ptr();
    let buffer = buffer.as_mut_ptr().cast::<f32>();
    // SAFETY: there are counts for every block and group, and `HalfPairs::push_group` has pushed two places
    // for each counted pair, and a weight for each output of its pattern. Places are below the
    // length of their block, and patterns contain existing outputs only; the caller guarantees the lengths.
    unsafe {
        for block in 0..n_blocks {
            let x = x.as_ptr().add(block * product.length).cast::<u16>();
            for group in (0..product.outputs).step_by(GROUP) {
                let n = GROUP.min(product.outputs - group);
                let buffer = buffer.add(group * LANES);
                let mut sums = match (block, operands.start) {
                    (0, HalfStart::Bias(bias)) => of_bias(&bias[group..group + n]),
                    (0, HalfStart::Zero) => of_bias(&[]),
                    (0, HalfStart::Outputs) => of_outputs(&y, group, n),
                    _ => load(buffer, n),
                };
                unroll!(PATTERN in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                    for _ in 0..*counts.add(PATTERN - 1) {
                        let one = x.add(usize::from(*places) * LANES);
                        let other = x.add(usize::from(*places.add(1)) * LANES);
                        places = places.add(2);
                        let mut pairs = [_mm512_setzero_si512(); 4];
                        unroll!(W in [0 1] {
                            let one = _mm512_load_si512(one.add(W * VECTOR).cast());
                            let other = _mm512_load_si512(other.add(W * VECTOR).cast());
                            pairs[2 * W] = _mm512_unpacklo_epi16(one, other);
                            pairs[2 * W + 1] = _mm512_unpackhi_epi16(one, other);
                        });
                        unroll!(Q in [0 1 2 3] {
                            if PATTERN >> Q & 1 == 1 {
                                let weight = _mm512_set1_epi32(*weights as i32);
                                weights = weights.add(1);
                                unroll!(W in [0 1 2 3] {
                                    sums[Q][W] = dot(sums[Q][W], weight, pairs[W]);
                                });
                            }
                        });
                    }
                });
                counts = counts.add(PATTERNS);
                if block + 1 < n_blocks {
                    store(buffer, n, sums);
                } else {
                    write_group(&mut y, group, n, sums, operands.rectify);
                }
            }
        }
    }
}

/// Returns the sums of a group that begin with the bias of each output.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn of_bias(bias: &[f32]) -> [[__m512; 4]; GROUP] {
    let mut sums = [[_mm512_setzero_ps(); 4]; GROUP];
    unroll!(Q in [0 1 2 3] {
        if let Some(&bias) = bias.get(Q) {
            sums[Q] = [_mm512_set1_ps(bias); 4];
        }
    });
    sums
}

/// Returns the current values of the `n` outputs from `first`, in the order of lanes that interleaving makes.
///
/// # Safety
/// The outputs must exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn of_outputs(y: &HalfOutputs<'_>, first: usize, n: usize) -> [[__m512; 4]; GROUP] {
    let mut sums = [[_mm512_setzero_ps(); 4]; GROUP];
    let HalfOutputs::Single(y) = y else {
        return sums;
    };
    // The inverse of what `write` restores.
    let even = _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    let odd = _mm512_setr_epi32(4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    // SAFETY: the caller guarantees the outputs, whose lanes are 64 numbers, aligned to cache lines.
    unsafe {
        unroll!(Q in [0 1 2 3] {
            if Q < n {
                let y = y.as_ptr().add(first + Q).cast::<f32>();
                unroll!(W in [0 1] {
                    let low = _mm512_load_ps(y.add(W * VECTOR));
                    let high = _mm512_load_ps(y.add(W * VECTOR + 16));
                    sums[Q][2 * W] = _mm512_permutex2var_ps(low, even, high);
                    sums[Q][2 * W + 1] = _mm512_permutex2var_ps(low, odd, high);
                });
            }
        });
    }
    sums
}

/// Returns the sums of the first `n` outputs of a group so far.
///
/// # Safety
/// `buffer` has the sums of `n` outputs, aligned to cache lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn load(buffer: *const f32, n: usize) -> [[__m512; 4]; GROUP] {
    let mut sums = [[_mm512_setzero_ps(); 4]; GROUP];
    // SAFETY: the caller guarantees the sums.
    unsafe {
        unroll!(Q in [0 1 2 3] {
            if Q < n {
                unroll!(W in [0 1 2 3] {
                    sums[Q][W] = _mm512_load_ps(buffer.add(Q * LANES + W * 16));
                });
            }
        });
    }
    sums
}

/// Stores the sums of the first `n` outputs of a group.
///
/// # Safety
/// `buffer` has room for the sums of `n` outputs, aligned to cache lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn store(buffer: *mut f32, n: usize, sums: [[__m512; 4]; GROUP]) {
    // SAFETY: the caller guarantees the room.
    unsafe {
        unroll!(Q in [0 1 2 3] {
            if Q < n {
                unroll!(W in [0 1 2 3] {
                    _mm512_store_ps(buffer.add(Q * LANES + W * 16), sums[Q][W]);
                });
            }
        });
    }
}

/// Writes the sums of the `n` outputs from `first`, rectified or not.
///
/// # Safety
/// The outputs must exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn write_group(
    y: &mut HalfOutputs<'_>,
    first: usize,
    n: usize,
    sums: [[__m512; 4]; GROUP],
    rectify: bool,
) {
    let zero = _mm512_setzero_ps();
    // SAFETY: the caller guarantees the outputs.
    unsafe {
        unroll!(Q in [0 1 2 3] {
            if Q < n {
                let mut sums = sums[Q];
                if rectify {
                    // If one operand is NaN, the result is the second.
                    unroll!(W in [0 1 2 3] {
                        sums[W] = _mm512_max_ps(zero, sums[W]);
                    });
                }
                write(y, first + Q, sums);
            }
        });
    }
}

/// Writes the sums of one output, with the order of lanes restored.
///
/// # Safety
/// The output must exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn write(y: &mut HalfOutputs<'_>, output: usize, sums: [__m512; 4]) {
    // Interleaving has moved lanes 0-3, 8-11, 16-19, 24-27 to the first vector and the others to
    // the second.
    let first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    let second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    let ordered = [
        _mm512_permutex2var_ps(sums[0], first, sums[1]),
        _mm512_permutex2var_ps(sums[0], second, sums[1]),
        _mm512_permutex2var_ps(sums[2], first, sums[3]),
        _mm512_permutex2var_ps(sums[2], second, sums[3]),
    ];
    // SAFETY: the caller guarantees the output, whose lanes are 64 numbers, aligned to cache lines.
    unsafe {
        match y {
            HalfOutputs::Single(y) => {
                let y = y.as_mut_ptr().add(output).cast::<f32>();
                unroll!(W in [0 1 2 3] {
                    _mm512_store_ps(y.add(W * 16), ordered[W]);
                });
            }
            HalfOutputs::Half(y) => {
                let y = y.as_mut_ptr().add(output).cast::<u16>();
                unroll!(W in [0 1] {
                    let halves = _mm512_cvtne2ps_pbh(ordered[2 * W + 1], ordered[2 * W]);
                    let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
                    _mm512_store_si512(y.add(W * VECTOR).cast(), halves);
                });
            }
        }
    }
}

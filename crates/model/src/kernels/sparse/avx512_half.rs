//! The products in half precision for AVX-512 with bfloat16: the 64 lanes of a tile are two vectors of
//! inputs and four vectors of sums.

use super::buckets::GROUP;
use super::column_groups::ColumnGroups;
use super::half::HalfLanes;
use super::half_pairs::{HalfOutputs, HalfStart, HalfTile, PATTERNS};
use crate::kernels::simd::Vector;
use crate::kernels::{LANES, Lanes};
use std::arch::x86_64::*;

/// Number of lanes in a vector of inputs.
const VECTOR: usize = 32;

/// Repeats a block for each value of a constant. Arrays that are indexed by constants only stay in registers,
/// which loops do not guarantee.
macro_rules! unroll {
    ($name:ident in [$($value:literal)*] $body:block) => {{$({
        const $name: usize = $value;
        $body
    })*}};
}

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

/// Rounds tiles to half precision.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL, BF16), and the slices the same length.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn narrow(x: &[Lanes<f32>], y: &mut [HalfLanes]) {
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x.0.as_ptr(), y.0.as_mut_ptr());
        // SAFETY: both are 64 numbers, aligned to cache lines.
        unsafe {
            unroll!(W in [0 1] {
                let low = _mm512_load_ps(x.add(W * VECTOR));
                let high = _mm512_load_ps(x.add(W * VECTOR + 16));
                let halves = _mm512_cvtne2ps_pbh(high, low);
                let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
                _mm512_store_si512(y.add(W * VECTOR).cast(), halves);
            });
        }
    }
}

/// Returns `sum + a . b`, with two terms in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    // SAFETY: both are 64 bytes of which every pattern is valid.
    let (a, b) = unsafe {
        (
            std::mem::transmute::<__m512i, __m512bh>(a),
            std::mem::transmute::<__m512i, __m512bh>(b),
        )
    };
    _mm512_dpbf16_ps(sum, a, b)
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

/// Adds the gradients of kept weights over `TILES` tiles, one or two, to `sums`.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL, BF16); `x` and `dy` hold `TILES` tiles of the layer's inputs and
/// outputs, and `sums` one number for each column of each step.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn weight_gradient<const TILES: usize>(
    columns: &ColumnGroups,
    x: &[HalfLanes],
    dy: &[HalfLanes],
    sums: &mut [f32],
) {
    let (x, dy) = (x.as_ptr().cast::<u16>(), dy.as_ptr().cast::<u16>());
    let mut sums = sums.as_mut_ptr();
    let mut steps = columns.steps.as_ptr();
    for group in &columns.groups {
        // SAFETY: the inputs of a step are in its block and outputs exist, so `x` and `dy` hold them in each tile; the
        // lengths of `steps` and `sums` are those of all groups together.
        unsafe {
            let x = x.add(group.first_input * LANES);
            let mut gradients = [[[_mm512_setzero_si512(); 2]; 2]; 4];
            unroll!(Q in [0 1 2 3] {
                unroll!(T in [0 1] {
                    if T < TILES {
                        let dy = dy.add((T * columns.outputs + group.outputs[Q]) * LANES);
                        gradients[Q][T][0] = _mm512_load_si512(dy.cast());
                        gradients[Q][T][1] = _mm512_load_si512(dy.add(VECTOR).cast());
                    }
                });
            });
            for _ in 0..group.n_steps {
                let inputs = *steps;
                let mut products = [_mm512_setzero_ps(); 4];
                unroll!(Q in [0 1 2 3] {
                    let x = x.add(usize::from(inputs[Q]) * LANES);
                    unroll!(T in [0 1] {
                        if T < TILES {
                            let x = x.add(T * columns.inputs * LANES);
                            let low = _mm512_load_si512(x.cast());
                            let high = _mm512_load_si512(x.add(VECTOR).cast());
                            products[Q] = dot(products[Q], gradients[Q][T][0], low);
                            products[Q] = dot(products[Q], gradients[Q][T][1], high);
                        }
                    });
                });
                <__m512 as Vector<f32>>::add_sums(products, sums);
                steps = steps.add(1);
                sums = sums.add(4);
            }
        }
    }
}

/// Adds the gradients of the weights of a square, of 4 inputs and 4 outputs, over some tiles to `sums`. `widths` are the
/// numbers of features of a tile, of `x` and of `dy`.
///
/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL, BF16); `sides` are features of the tiles, of which `x` and `dy` have as
/// many.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn square(
    [inputs, outputs]: [usize; 2],
    [rows, columns]: [[usize; 4]; 2],
    x: &[HalfLanes],
    dy: &[HalfLanes],
    sums: &mut [f32; 16],
) {
    let mut parts = [[_mm512_setzero_ps(); 4]; 4];
    for tile in 0..dy.len() / outputs {
        // SAFETY: the caller guarantees the features.
        unsafe {
            let x = x.as_ptr().add(tile * inputs);
            let dy = dy.as_ptr().add(tile * outputs);
            unroll!(W in [0 1] {
                let mut gradients = [_mm512_setzero_si512(); 4];
                unroll!(Q in [0 1 2 3] {
                    let dy = dy.add(columns[Q]).cast::<u16>();
                    gradients[Q] = _mm512_load_si512(dy.add(W * VECTOR).cast());
                });
                unroll!(P in [0 1 2 3] {
                    let x = x.add(rows[P]).cast::<u16>();
                    let x = _mm512_load_si512(x.add(W * VECTOR).cast());
                    unroll!(Q in [0 1 2 3] {
                        parts[P][Q] = dot(parts[P][Q], gradients[Q], x);
                    });
                });
            });
        }
    }
    unroll!(P in [0 1 2 3] {
        // SAFETY: the processor has AVX-512, and there are 16 sums.
        unsafe { <__m512 as Vector<f32>>::add_sums(parts[P], sums.as_mut_ptr().add(P * 4)) };
    });
}

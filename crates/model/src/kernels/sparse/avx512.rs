//! The products for AVX-512, in single precision: a tile's 64 lanes are four vectors.

use super::buckets::{GROUP, PATTERNS, block_length};
use super::outer::{Add, Order};
use super::product::{Run, Start};
use crate::kernels::{LANES, Lanes};
use std::arch::x86_64::*;

/// Lanes of a vector.
const VECTOR: usize = 16;

/// Repeats a block for each value of a constant. Arrays that only constants index stay in registers,
/// which loops over them do not promise.
macro_rules! unroll {
    ($name:ident in [$($value:literal)*] $body:block) => {{$({
        const $name: usize = $value;
        $body
    })*}};
}

/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL), and the lengths be those that
/// [`super::Product::run_lanes`] asks for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn product(run: Run<'_, f32>) {
    // SAFETY: the caller vouches for the lengths.
    unsafe {
        match run.lanes.div_ceil(VECTOR) {
            0 | 1 => product_of::<1>(run),
            2 => product_of::<2>(run),
            _ => product_of::<4>(run),
        }
    }
}

/// In the first `V` vectors of each tile.
///
/// # Safety
/// As [`product`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn product_of<const V: usize>(run: Run<'_, f32>) {
    let buckets = run.buckets;
    let (inputs, outputs) = (buckets.inputs, buckets.outputs);
    let n_blocks = buckets.n_blocks();
    let zero = _mm512_setzero_ps();
    for tile in 0..run.y.len() / outputs.max(1) {
        let mut counts = buckets.counts.as_ptr();
        let mut places = buckets.places.as_ptr();
        let mut values = run.values.as_ptr();
        // SAFETY: there are counts for every block and group, and `Buckets::new` has pushed as many
        // places as they say and a number, so that there is a value, for each output of a pattern.
        // Places are below the length of their block, and patterns name existing outputs only, so that
        // all lanes lie in the tile's part of `x` and `y`, whose lengths were checked.
        unsafe {
            let x = run.x.as_ptr().add(tile * inputs).cast::<f32>();
            let y = run.y.as_mut_ptr().add(tile * outputs).cast::<f32>();
            for block in 0..n_blocks {
                let x = x.add(block * buckets.length * LANES);
                for group in (0..outputs).step_by(GROUP) {
                    let n = GROUP.min(outputs - group);
                    let y = y.add(group * LANES);
                    let mut sums = [[zero; 4]; GROUP];
                    match run.start {
                        Start::Bias(bias) if block == 0 => unroll!(Q in [0 1 2 3] {
                            if Q < n {
                                let bias = _mm512_set1_ps(*bias.get_unchecked(group + Q));
                                sums[Q] = [bias; 4];
                            }
                        }),
                        Start::Zero if block == 0 => {}
                        _ => unroll!(Q in [0 1 2 3] {
                            if Q < n {
                                unroll!(W in [0 1 2 3] {
                                    if W < V {
                                        let at = y.add(Q * LANES + W * VECTOR);
                                        sums[Q][W] = _mm512_load_ps(at);
                                    }
                                });
                            }
                        }),
                    }
                    unroll!(PATTERN in [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15] {
                        for _ in 0..*counts.add(PATTERN - 1) {
                            let x = x.add(usize::from(*places) * LANES);
                            places = places.add(1);
                            let mut lanes = [zero; 4];
                            unroll!(W in [0 1 2 3] {
                                if W < V {
                                    lanes[W] = _mm512_load_ps(x.add(W * VECTOR));
                                }
                            });
                            unroll!(Q in [0 1 2 3] {
                                if PATTERN >> Q & 1 == 1 {
                                    let weight = _mm512_set1_ps(*values);
                                    values = values.add(1);
                                    unroll!(W in [0 1 2 3] {
                                        if W < V {
                                            sums[Q][W] =
                                                _mm512_fmadd_ps(weight, lanes[W], sums[Q][W]);
                                        }
                                    });
                                }
                            });
                        }
                    });
                    counts = counts.add(PATTERNS);
                    let rectify = run.rectify && block + 1 == n_blocks;
                    unroll!(Q in [0 1 2 3] {
                        if Q < n {
                            unroll!(W in [0 1 2 3] {
                                if W < V {
                                    let mut sum = sums[Q][W];
                                    if rectify {
                                        // The second operand is the result where one is NaN.
                                        sum = _mm512_max_ps(zero, sum);
                                    }
                                    _mm512_store_ps(y.add(Q * LANES + W * VECTOR), sum);
                                }
                            });
                        }
                    });
                }
            }
        }
    }
}

/// # Safety
/// The processor must have AVX-512 (F, BW, DQ, VL), and the lengths be those that
/// [`super::Outer::add`] asks for.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn outer(add: Add<'_, f32>) {
    match &add.outer.order {
        Order::Lists {
            steps,
            outputs,
            places,
        } => {
            for tile in 0..add.n_tiles {
                let x = &add.x[tile * add.outer.inputs..][..add.outer.inputs];
                let dy = &add.dy[tile * add.outer.outputs..][..add.outer.outputs];
                // SAFETY: as the caller vouches.
                unsafe { outer_of_lists(steps, outputs, places, x, dy, add.sums) };
            }
        }
        // SAFETY: as the caller vouches.
        Order::Dense => unsafe { dense_outer(add) },
    }
}

/// # Safety
/// As [`outer`]; `x` and `dy` are one tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn outer_of_lists(
    steps: &[u8],
    outputs: &[u32],
    places: &[u8],
    x: &[Lanes<f32>],
    dy: &[Lanes<f32>],
    sums: &mut [f32],
) {
    let n_groups = dy.len().div_ceil(GROUP).max(1);
    let length = block_length(x.len());
    let zero = _mm512_setzero_ps();
    let (x_lines, n_groups_all) = (x.len() * LANES / VECTOR, steps.len().max(1));
    let n_lines = x_lines + dy.len() * LANES / VECTOR;
    let next_x = x.as_ptr_range().end.cast::<f32>();
    let next_dy = dy.as_ptr_range().end.cast::<f32>();
    let mut places = places.as_ptr();
    let mut outputs = outputs.as_ptr();
    let mut target = sums.as_mut_ptr();
    // Sums of four steps wait here until they make a vector.
    let mut waiting = [zero; GROUP];
    let mut n_waiting = 0;
    // SAFETY: `lists` has pushed four outputs for each group and four places for each of its steps, and
    // as many numbers, so `sums` has room. Outputs are below the width of the layer and places below
    // the length of their block.
    unsafe {
        for (g, &steps) in steps.iter().enumerate() {
            let x = x.as_ptr().add(g / n_groups * length).cast::<f32>();
            let mut slopes = [[zero; 4]; GROUP];
            unroll!(Q in [0 1 2 3] {
                let dy = dy.as_ptr().add(*outputs.add(Q) as usize).cast::<f32>();
                unroll!(W in [0 1 2 3] {
                    slopes[Q][W] = _mm512_load_ps(dy.add(W * VECTOR));
                });
            });
            outputs = outputs.add(GROUP);
            // Each group asks for its share of the next tile, which lies behind this one.
            for line in (g * n_lines / n_groups_all)..((g + 1) * n_lines / n_groups_all) {
                let (first, behind) = match line < x_lines {
                    true => (next_x, line),
                    false => (next_dy, line - x_lines),
                };
                _mm_prefetch::<_MM_HINT_T1>(first.wrapping_add(behind * VECTOR).cast());
            }
            for _ in 0..steps {
                let mut products = [zero; GROUP];
                unroll!(Q in [0 1 2 3] {
                    let x = x.add(usize::from(*places.add(Q)) * LANES);
                    products[Q] = _mm512_mul_ps(slopes[Q][0], _mm512_load_ps(x));
                    unroll!(W in [1 2 3] {
                        let x = _mm512_load_ps(x.add(W * VECTOR));
                        products[Q] = _mm512_fmadd_ps(slopes[Q][W], x, products[Q]);
                    });
                });
                places = places.add(GROUP);
                waiting[n_waiting] = fold_four(products);
                n_waiting += 1;
                if n_waiting == GROUP {
                    n_waiting = 0;
                    let sum = _mm512_add_ps(_mm512_loadu_ps(target), fold_quarters(waiting));
                    _mm512_storeu_ps(target, sum);
                    target = target.add(VECTOR);
                }
            }
        }
        if n_waiting > 0 {
            waiting[n_waiting..].fill(zero);
            let kept = (1u32 << (n_waiting * GROUP)) - 1;
            let sum = _mm512_maskz_loadu_ps(kept as u16, target);
            let sum = _mm512_add_ps(sum, fold_quarters(waiting));
            _mm512_mask_storeu_ps(target, kept as u16, sum);
        }
    }
}

/// Four vectors to one: each quarter of it holds, in this order, sums of a quarter of each of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fold_four([a, b, c, d]: [__m512; 4]) -> __m512 {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
    _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)))
}

/// Adds up the quarters of each of four vectors: quarter `k` of the result is of vector `k`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fold_quarters([a, b, c, d]: [__m512; 4]) -> __m512 {
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let ab = _mm512_add_ps(
        _mm512_shuffle_f32x4::<EVEN>(a, b),
        _mm512_shuffle_f32x4::<ODD>(a, b),
    );
    let cd = _mm512_add_ps(
        _mm512_shuffle_f32x4::<EVEN>(c, d),
        _mm512_shuffle_f32x4::<ODD>(c, d),
    );
    _mm512_add_ps(
        _mm512_shuffle_f32x4::<EVEN>(ab, cd),
        _mm512_shuffle_f32x4::<ODD>(ab, cd),
    )
}

/// Tiles whose slopes stay in the second-level cache while all inputs meet them.
const DENSE_TILES: usize = 4;

/// # Safety
/// As [`outer`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn dense_outer(add: Add<'_, f32>) {
    let (inputs, outputs) = (add.outer.inputs, add.outer.outputs);
    if inputs == 0 || outputs == 0 {
        return;
    }
    let zero = _mm512_setzero_ps();
    for first_tile in (0..add.n_tiles).step_by(DENSE_TILES) {
        let tiles = first_tile..add.n_tiles.min(first_tile + DENSE_TILES);
        let mut target = add.sums.as_mut_ptr();
        for first_input in (0..inputs).step_by(GROUP) {
            // Features past the last are the last again: their sums have no meaning.
            let input: [usize; GROUP] = std::array::from_fn(|i| (first_input + i).min(inputs - 1));
            for first_output in (0..outputs).step_by(GROUP) {
                let output: [usize; GROUP] =
                    std::array::from_fn(|o| (first_output + o).min(outputs - 1));
                let mut sums = [[zero; GROUP]; GROUP];
                // SAFETY: inputs and outputs are below the widths of a tile, tiles below their number,
                // and `sums` has room for 16 numbers for each pair of blocks.
                unsafe {
                    for tile in tiles.clone() {
                        let x = add.x.as_ptr().add(tile * inputs);
                        let dy = add.dy.as_ptr().add(tile * outputs);
                        let x = input.map(|i| x.add(i).cast::<f32>());
                        let dy = output.map(|o| dy.add(o).cast::<f32>());
                        for v in (0..LANES).step_by(VECTOR) {
                            let dy = [
                                _mm512_load_ps(dy[0].add(v)),
                                _mm512_load_ps(dy[1].add(v)),
                                _mm512_load_ps(dy[2].add(v)),
                                _mm512_load_ps(dy[3].add(v)),
                            ];
                            unroll!(I in [0 1 2 3] {
                                let x = _mm512_load_ps(x[I].add(v));
                                unroll!(O in [0 1 2 3] {
                                    sums[I][O] = _mm512_fmadd_ps(x, dy[O], sums[I][O]);
                                });
                            });
                        }
                    }
                    let folded = [
                        fold_four(sums[0]),
                        fold_four(sums[1]),
                        fold_four(sums[2]),
                        fold_four(sums[3]),
                    ];
                    let sum = _mm512_add_ps(_mm512_loadu_ps(target), fold_quarters(folded));
                    _mm512_storeu_ps(target, sum);
                    target = target.add(VECTOR);
                }
            }
        }
    }
}

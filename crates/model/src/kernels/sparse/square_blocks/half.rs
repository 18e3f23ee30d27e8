//! Gradients of all weights of a layer in half precision (bfloat16), summed in single precision.

use super::{SIDE, SquareBlocks, TILES, side};
use crate::kernels::SimdLevel;
use crate::kernels::simd_level::Isa;
use crate::kernels::sparse::half_lanes::{HalfLanes, widened};

impl SquareBlocks {
    /// Adds the sums over all tiles, of inputs and gradients in half precision.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub(in super::super) fn add_half(
        &self,
        level: SimdLevel,
        n_tiles: usize,
        x: &[HalfLanes],
        dy: &[HalfLanes],
        sums: &mut [f32],
    ) {
        assert_eq!(x.len(), n_tiles * self.inputs);
        assert_eq!(dy.len(), n_tiles * self.outputs);
        let n_squares = self.inputs.div_ceil(SIDE) * self.outputs.div_ceil(SIDE);
        assert_eq!(sums.len(), n_squares * SIDE * SIDE);
        let x = x.chunks(TILES * self.inputs.max(1));
        for (x, dy) in x.zip(dy.chunks(TILES * self.outputs.max(1))) {
            let squares = self.each().zip(sums.as_chunks_mut().0);
            for ((input, output), sums) in squares {
                let sides = [side(input, self.inputs), side(output, self.outputs)];
                match level.isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 if level.has_half() => {
                        // SAFETY: the processor has AVX-512 with bfloat16; the sides are features of the tiles, of which
                        // `x` and `dy` have as many.
                        unsafe {
                            let widths = [self.inputs, self.outputs];
                            avx512::square(widths, sides, x, dy, sums);
                        }
                    }
                    _ => self.add_half_portable(sides, x, dy, sums),
                }
            }
        }
    }

    /// Adds the sums of a square with plain arithmetic: the reference for the fast kernel, and the fallback.
    fn add_half_portable(
        &self,
        [rows, columns]: [[usize; SIDE]; 2],
        x: &[HalfLanes],
        dy: &[HalfLanes],
        sums: &mut [f32; SIDE * SIDE],
    ) {
        let tiles = x.chunks_exact(self.inputs);
        for (x, dy) in tiles.zip(dy.chunks_exact(self.outputs)) {
            for (sums, row) in sums.chunks_exact_mut(SIDE).zip(rows) {
                for (sum, column) in sums.iter_mut().zip(columns) {
                    let pairs = x[row].0.iter().zip(&dy[column].0);
                    let products = pairs.map(|(&x, &dy)| widened(x) * widened(dy));
                    *sum += products.sum::<f32>();
                }
            }
        }
    }
}

/// The sums for AVX-512 with bfloat16.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use crate::kernels::simd::Vector;
    use crate::kernels::sparse::half_lanes::HalfLanes;
    use crate::kernels::sparse::half_lanes::avx512::{VECTOR, dot, unroll};
    use std::arch::x86_64::*;

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
}

//! Gradients of kept weights in half precision (bfloat16), summed in single precision.

use super::{ColumnGroups, GROUP};
use crate::kernels::SimdLevel;
use crate::kernels::simd_level::Isa;
use crate::kernels::sparse::half_lanes::{HalfLanes, widened};

impl ColumnGroups {
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
        assert_eq!(sums.len(), self.steps.len() * GROUP);
        assert_eq!(x.len(), n_tiles * self.inputs);
        assert_eq!(dy.len(), n_tiles * self.outputs);
        // Two tiles at a time, so that each sum over lanes is of as many products as in single precision.
        let x = x.chunks(2 * self.inputs.max(1));
        for (x, dy) in x.zip(dy.chunks(2 * self.outputs.max(1))) {
            match level.isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 if level.has_half() => {
                    let n_tiles = dy.len() / self.outputs;
                    // SAFETY: the processor has AVX-512 with bfloat16, and the lengths were checked.
                    unsafe {
                        match n_tiles {
                            1 => avx512::weight_gradient::<1>(self, x, dy, sums),
                            _ => avx512::weight_gradient::<2>(self, x, dy, sums),
                        }
                    }
                }
                _ => self.add_half_portable(x, dy, sums),
            }
        }
    }

    /// Adds the sums of some tiles with plain arithmetic: the reference for the fast kernel, and the fallback.
    fn add_half_portable(&self, x: &[HalfLanes], dy: &[HalfLanes], sums: &mut [f32]) {
        let tiles = x.chunks_exact(self.inputs);
        for (x, dy) in tiles.zip(dy.chunks_exact(self.outputs)) {
            let mut sums = sums.iter_mut();
            let mut steps = self.steps.iter();
            for group in &self.groups {
                for inputs in steps.by_ref().take(group.n_steps) {
                    let columns = inputs.iter().zip(group.outputs);
                    for ((&input, output), sum) in columns.zip(sums.by_ref()) {
                        let x = &x[group.first_input + usize::from(input)].0;
                        let pairs = x.iter().zip(&dy[output].0);
                        let products = pairs.map(|(&x, &dy)| widened(x) * widened(dy));
                        *sum += products.sum::<f32>();
                    }
                }
            }
        }
    }
}

/// The sums for AVX-512 with bfloat16.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::ColumnGroups;
    use crate::kernels::LANES;
    use crate::kernels::simd::Vector;
    use crate::kernels::sparse::half_lanes::HalfLanes;
    use crate::kernels::sparse::half_lanes::avx512::{VECTOR, dot, unroll};
    use std::arch::x86_64::*;

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
}

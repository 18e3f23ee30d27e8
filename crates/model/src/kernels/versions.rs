//! Loops that are written once, and compiled and vectorised by the compiler for each instruction set.

use crate::kernels::SimdLevel;
use crate::kernels::simd_level::Isa;
use crate::number::Real;

/// A loop with its arguments.
pub trait CompiledLoop {
    /// The return type.
    type Out;

    /// Runs the loop with `WIDTH` lanes (f32) to a vector, sums in blocks of `BLOCK` times 4 vectors (as many as
    /// fit the registers), and fused multiply-add if available (`FUSED`).
    ///
    /// Implementations and all functions that they call must be `#[inline(always)]`, to be compiled with the
    /// instructions of the calling function. This may not apply to arithmetic in closures.
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) -> Self::Out;
}

/// Runs a loop with the instructions of a level.
pub fn run<W: CompiledLoop>(level: SimdLevel, kernel: W) -> W::Out {
    match level.isa() {
        Isa::Portable => kernel.run::<false, 4, 2>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level exists only if the processor has its instructions.
        Isa::Avx2 => unsafe { with_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { with_avx512(kernel) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: CompiledLoop>(kernel: W) -> W::Out {
    kernel.run::<true, 8, 2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<W: CompiledLoop>(kernel: W) -> W::Out {
    kernel.run::<true, 16, 4>()
}

/// Computes `sums += a * b`, lane by lane.
#[inline(always)]
pub(crate) fn add_products<const FUSED: bool, const WIDTH: usize, R: Real>(
    sums: &mut [R; WIDTH],
    a: &[R; WIDTH],
    b: &[R; WIDTH],
) {
    for lane in 0..WIDTH {
        sums[lane] = add_product::<FUSED, R>(sums[lane], a[lane], b[lane]);
    }
}

/// Returns `sum + a * b`.
#[inline(always)]
pub(crate) fn add_product<const FUSED: bool, R: Real>(sum: R, a: R, b: R) -> R {
    if FUSED {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// Computes `sums += values`, lane by lane.
#[inline(always)]
pub(super) fn add<const WIDTH: usize, R: Real>(sums: &mut [R; WIDTH], values: &[R; WIDTH]) {
    for lane in 0..WIDTH {
        sums[lane] += values[lane];
    }
}

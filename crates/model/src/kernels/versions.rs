//! Arithmetic that is written once and compiled for each set of instructions.

use crate::kernels::SimdLevel;
use crate::kernels::simd_level::Isa;
use crate::number::Real;

/// What a kernel does, with its arguments.
pub(crate) trait CompiledLoop {
    /// What it returns.
    type Out;

    /// Does it, with `WIDTH` lanes (f32) to a vector, sums in blocks of `BLOCK` times 4 vectors (what
    /// the registers hold), and products and sums in one instruction if there is one (`FUSED`).
    ///
    /// To be marked `#[inline(always)]`, with everything that it calls: only so it takes over the
    /// instructions of the function around it. Arithmetic in a closure may be left out of that.
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) -> Self::Out;
}

/// Does the work with the instructions of a level.
pub(crate) fn run<W: CompiledLoop>(level: SimdLevel, work: W) -> W::Out {
    match level.set() {
        Isa::Portable => work.run::<false, 4, 2>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is made only where the processor has its instructions.
        Isa::Avx2 => unsafe { with_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { with_avx512(work) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: CompiledLoop>(work: W) -> W::Out {
    work.run::<true, 8, 2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<W: CompiledLoop>(work: W) -> W::Out {
    work.run::<true, 16, 4>()
}

/// `sums += a * b`, lane by lane.
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

/// `sum + a * b`.
#[inline(always)]
pub(crate) fn add_product<const FUSED: bool, R: Real>(sum: R, a: R, b: R) -> R {
    if FUSED {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// `sums += values`, lane by lane.
#[inline(always)]
pub(super) fn add<const WIDTH: usize, R: Real>(sums: &mut [R; WIDTH], values: &[R; WIDTH]) {
    for lane in 0..WIDTH {
        sums[lane] += values[lane];
    }
}

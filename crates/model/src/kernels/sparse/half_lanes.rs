//! Numbers of half precision (bfloat16), and the instructions that all of its products use.

use crate::kernels::simd_level::Isa;
use crate::kernels::{LANES, Lanes, SimdLevel};

/// One feature of the 64 rows of a tile as bfloat16: the upper half of a single-precision number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct HalfLanes(pub [u16; LANES]);

impl HalfLanes {
    /// Rounds each number to the nearest bfloat16.
    pub fn of(lanes: &Lanes<f32>) -> HalfLanes {
        HalfLanes(lanes.0.map(rounded))
    }
}

/// Rounds tiles to half precision.
///
/// # Panics
/// If the lengths of the slices differ.
pub fn narrow(level: SimdLevel, x: &[Lanes<f32>], y: &mut [HalfLanes]) {
    assert_eq!(x.len(), y.len(), "other tiles");
    match level.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if level.has_half() => {
            // SAFETY: the processor has AVX-512 with bfloat16, and the lengths are the same.
            unsafe { avx512::narrow(x, y) }
        }
        _ => y.iter_mut().zip(x).for_each(|(y, x)| *y = HalfLanes::of(x)),
    }
}

/// Returns the nearest bfloat16, ties to even; NaN stays NaN.
pub(super) fn rounded(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fc0;
    }
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

pub(super) fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// Rounding, and the dot product, of AVX-512 with bfloat16: the 64 lanes of a tile are two vectors of numbers.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use super::HalfLanes;
    use crate::kernels::Lanes;
    use std::arch::x86_64::*;

    /// Number of lanes in a vector of inputs.
    pub(in super::super) const VECTOR: usize = 32;

    /// Repeats a block for each value of a constant. Arrays that are indexed by constants only stay in registers,
    /// which loops do not guarantee.
    macro_rules! unroll {
        ($name:ident in [$($value:literal)*] $body:block) => {{$({
            const $name: usize = $value;
            $body
        })*}};
    }
    pub(in super::super) use unroll;

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
    pub(in super::super) fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: both are 64 bytes of which every pattern is valid.
        let (a, b) = unsafe {
            (
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        };
        _mm512_dpbf16_ps(sum, a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        assert_eq!(widened(rounded(1.0)), 1.0);
        // 1 + 2^-8 lies between 1 and 1 + 2^-7; the even one is 1.
        assert_eq!(widened(rounded(1.0 + 0.5_f32.powi(8))), 1.0);
        assert_eq!(widened(rounded(1.003_91)), 1.007_812_5);
        assert!(widened(rounded(f32::NAN)).is_nan());
        assert_eq!(widened(rounded(f32::MAX)), f32::INFINITY);
    }
}

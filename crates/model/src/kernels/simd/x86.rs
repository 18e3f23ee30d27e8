//! SIMD vectors of AVX2 and AVX-512.

use super::{Kernel, Many, Simd, Vector};
use std::arch::x86_64::*;

/// AVX2 with fused multiply-add.
pub struct Avx2;

/// AVX-512 with the extensions BW, DQ and VL.
pub struct Avx512;

impl Simd<f32> for Avx2 {
    type Vector = __m256;
    type Strip = Many<__m256, 2>;
    type HalfStrip = Many<__m256, 2>;
    type Tile = Many<__m256, 8>;
    const QUARTER: usize = 2;
}

impl Simd<f32> for Avx512 {
    type Vector = __m512;
    type Strip = Many<__m512, 4>;
    type HalfStrip = Many<__m512, 2>;
    type Tile = Many<__m512, 4>;
    const QUARTER: usize = 4;
}

impl Avx2 {
    /// Runs a kernel compiled for AVX2.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn vectorized(kernel: impl Kernel<f32>) {
        // SAFETY: the caller's promise.
        unsafe { kernel.run::<Avx2>() }
    }
}

impl Avx512 {
    /// Runs a kernel compiled for AVX-512.
    ///
    /// # Safety
    /// The processor has AVX2, FMA and AVX-512 F, BW, DQ and VL.
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub unsafe fn vectorized(kernel: impl Kernel<f32>) {
        // SAFETY: the caller's promise.
        unsafe { kernel.run::<Avx512>() }
    }
}

impl Vector<f32> for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller promises AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises AVX2 and eight numbers.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises AVX2 and room for eight numbers.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller promises FMA.
        unsafe { _mm256_fmadd_ps(self, factor, term) }
    }

    #[inline(always)]
    unsafe fn rectify(self) -> Self {
        // SAFETY: the caller promises AVX2. Of a number and NaN, `max` gives its second operand.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }

    #[inline(always)]
    unsafe fn add_sums([a, b, c, d]: [Self; 4], sums: *mut f32) {
        // SAFETY: the caller promises AVX2 and four numbers.
        unsafe {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let four = _mm_add_ps(
                _mm256_castps256_ps128(pairs),
                _mm256_extractf128_ps::<1>(pairs),
            );
            _mm_storeu_ps(sums, _mm_add_ps(_mm_loadu_ps(sums), four));
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(at: *const T) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

impl Vector<f32> for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller promises AVX-512.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises AVX-512 and 16 numbers.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises AVX-512 and room for 16 numbers.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // SAFETY: the caller promises AVX-512.
        unsafe { _mm512_fmadd_ps(self, factor, term) }
    }

    #[inline(always)]
    unsafe fn rectify(self) -> Self {
        // SAFETY: the caller promises AVX-512. Of a number and NaN, `max` gives its second operand.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
    }

    #[inline(always)]
    unsafe fn add_sums([a, b, c, d]: [Self; 4], sums: *mut f32) {
        // SAFETY: the caller promises AVX-512 and four numbers.
        unsafe {
            // In each quarter: sums of a, b, a, b, and of c, d, c, d.
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            // In each quarter: sums of a, b, c, d.
            let quarters = _mm512_add_ps(
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            );
            let halves = _mm256_add_ps(
                _mm512_castps512_ps256(quarters),
                _mm512_extractf32x8_ps::<1>(quarters),
            );
            let four = _mm_add_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            _mm_storeu_ps(sums, _mm_add_ps(_mm_loadu_ps(sums), four));
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(at: *const T) {
        // SAFETY: a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

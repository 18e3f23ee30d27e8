//! SIMD vectors: a kernel is written once and compiled for every instruction set.
//!
//! A kernel is a [`Kernel`]: [`Real::vectorized`](crate::number::Real::vectorized) runs it compiled for
//! the instructions of a [`SimdLevel`](super::SimdLevel). All functions involved are `#[inline(always)]`: only
//! code that is inlined into the functions at the end of this file is compiled for more than the baseline.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

use super::simd_level::Isa;
use super::{Lanes, SimdLevel};
use crate::number::Real;

/// A SIMD vector.
pub trait Vector<R: Real>: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// Fills all lanes with the same number.
    ///
    /// # Safety
    /// The processor has the instructions of this vector. This holds for every function of this trait.
    unsafe fn splat(value: R) -> Self;

    /// Loads the numbers at `from`.
    ///
    /// # Safety
    /// `from` is valid for reads of [`Vector::LANES`] numbers.
    unsafe fn load(from: *const R) -> Self;

    /// Stores the numbers at `to`.
    ///
    /// # Safety
    /// `to` is valid for writes of [`Vector::LANES`] numbers.
    unsafe fn store(self, to: *mut R);

    /// Returns `self * factor + term`, rounded once or twice.
    ///
    /// # Safety
    /// As [`Vector::splat`].
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;

    /// Sets negative numbers to 0; NaN stays.
    ///
    /// # Safety
    /// As [`Vector::splat`].
    unsafe fn rectify(self) -> Self;

    /// Adds the sums over the lanes of four vectors to four numbers at `sums`.
    ///
    /// # Safety
    /// `sums` is valid for reads and writes of four numbers.
    unsafe fn add_sums(vectors: [Self; 4], sums: *mut R);

    /// Prefetches the cache line at `at`, which may be any address, to the second-level cache.
    ///
    /// # Safety
    /// As [`Vector::splat`].
    unsafe fn prefetch<T>(at: *const T);
}

/// The vectors of an instruction set.
pub trait Simd<R: Real> {
    /// One register, or a few if registers are small.
    type Vector: Vector<R>;
    /// The widest strip of lanes such that four sums and an input fit the registers.
    type Strip: Vector<R>;
    /// Half a tile, or a strip if that is smaller.
    type HalfStrip: Vector<R>;
    /// All lanes of a tile.
    type Tile: Parts<R, Self::Vector>;
    /// Number of rows of a square block whose sums fit the registers, with inputs and gradients: 4, 2 or 1.
    const QUARTER: usize;
}

/// A kernel that can be compiled for several instruction sets.
pub trait Kernel<R: Real> {
    /// Runs the kernel. An implementation must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn run<S: Simd<R>>(self);
}

/// Prefetches one feature of a tile, which may be at any address.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub unsafe fn prefetch_lanes<R: Real, V: Vector<R>>(lanes: *const Lanes<R>) {
    for line in 0..size_of::<Lanes<R>>() / 64 {
        // SAFETY: the caller's promise.
        unsafe { V::prefetch(lanes.cast::<[u8; 64]>().wrapping_add(line)) };
    }
}

/// Several vectors as one.
#[derive(Clone, Copy)]
pub struct Many<V, const N: usize>(pub [V; N]);

/// A vector that consists of several.
pub trait Parts<R: Real, V: Vector<R>>: Vector<R> {
    /// Returns `sum` plus the products of two vectors, summed over the parts.
    ///
    /// # Safety
    /// As [`Vector::splat`].
    unsafe fn dot_add(self, other: Self, sum: V) -> V;
}

impl<R: Real, V: Vector<R>, const N: usize> Parts<R, V> for Many<V, N> {
    #[inline(always)]
    unsafe fn dot_add(self, other: Self, mut sum: V) -> V {
        for (part, other) in self.0.into_iter().zip(other.0) {
            // SAFETY: the caller's promise is that of the parts.
            sum = unsafe { part.mul_add(other, sum) };
        }
        sum
    }
}

impl<R: Real, V: Vector<R>, const N: usize> Vector<R> for Many<V, N> {
    const LANES: usize = N * V::LANES;

    #[inline(always)]
    unsafe fn splat(value: R) -> Self {
        // SAFETY: the caller's promise is that of the parts.
        unsafe { Many([V::splat(value); N]) }
    }

    #[inline(always)]
    unsafe fn load(from: *const R) -> Self {
        // SAFETY: the parts are contiguous inside the range that the caller promises.
        unsafe {
            let mut parts = [V::splat(R::ZERO); N];
            for (at, part) in parts.iter_mut().enumerate() {
                *part = V::load(from.add(at * V::LANES));
            }
            Many(parts)
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut R) {
        // SAFETY: the parts are contiguous inside the range that the caller promises.
        unsafe {
            for (at, part) in self.0.into_iter().enumerate() {
                part.store(to.add(at * V::LANES));
            }
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, mut term: Self) -> Self {
        // SAFETY: the caller's promise is that of the parts.
        unsafe {
            for (at, part) in term.0.iter_mut().enumerate() {
                *part = self.0[at].mul_add(factor.0[at], *part);
            }
        }
        term
    }

    #[inline(always)]
    unsafe fn rectify(mut self) -> Self {
        for part in &mut self.0 {
            // SAFETY: the caller's promise is that of the parts.
            *part = unsafe { part.rectify() };
        }
        self
    }

    #[inline(always)]
    unsafe fn add_sums(vectors: [Self; 4], sums: *mut R) {
        for at in 0..N {
            // SAFETY: the caller's promise is that of the parts.
            unsafe { V::add_sums(vectors.map(|vector| vector.0[at]), sums) };
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(at: *const T) {
        // SAFETY: the caller's promise is that of the parts.
        unsafe { V::prefetch(at) };
    }
}

/// Eight numbers, in registers that the compiler chooses.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub struct Plain<R>([R; 8]);

impl<R: Real> Vector<R> for Plain<R> {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: R) -> Self {
        Plain([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const R) -> Self {
        // SAFETY: the caller promises eight numbers; an array is aligned as they are.
        Plain(unsafe { from.cast::<[R; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut R) {
        // SAFETY: the caller promises room for eight numbers; an array is aligned as they are.
        unsafe { to.cast::<[R; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, mut term: Self) -> Self {
        for ((term, a), b) in term.0.iter_mut().zip(self.0).zip(factor.0) {
            *term += a * b;
        }
        term
    }

    #[inline(always)]
    unsafe fn rectify(mut self) -> Self {
        for value in &mut self.0 {
            *value = if *value < R::ZERO { R::ZERO } else { *value };
        }
        self
    }

    #[inline(always)]
    unsafe fn add_sums(vectors: [Self; 4], sums: *mut R) {
        for (at, Plain(v)) in vectors.into_iter().enumerate() {
            let sum = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
            // SAFETY: the caller promises four numbers.
            unsafe { *sums.add(at) += sum };
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(_: *const T) {}
}

/// A vector of one number.
#[derive(Clone, Copy)]
pub struct Single<R>(R);

impl<R: Real> Vector<R> for Single<R> {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: R) -> Self {
        Single(value)
    }

    #[inline(always)]
    unsafe fn load(from: *const R) -> Self {
        // SAFETY: the caller promises a number.
        Single(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut R) {
        // SAFETY: the caller promises room for a number.
        unsafe { *to = self.0 }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        Single(self.0 * factor.0 + term.0)
    }

    #[inline(always)]
    unsafe fn rectify(self) -> Self {
        if self.0 < R::ZERO {
            Single(R::ZERO)
        } else {
            self
        }
    }

    #[inline(always)]
    unsafe fn add_sums(vectors: [Self; 4], sums: *mut R) {
        for (at, Single(value)) in vectors.into_iter().enumerate() {
            // SAFETY: the caller promises four numbers.
            unsafe { *sums.add(at) += value };
        }
    }

    #[inline(always)]
    unsafe fn prefetch<T>(_: *const T) {}
}

/// The baseline instructions.
pub struct Baseline;

impl<R: Real> Simd<R> for Baseline {
    type Vector = Plain<R>;
    type Strip = Plain<R>;
    type HalfStrip = Plain<R>;
    type Tile = Many<Plain<R>, 8>;
    const QUARTER: usize = 1;
}

/// Runs a kernel with the baseline instructions of the architecture.
pub fn baseline<R: Real>(_: SimdLevel, kernel: impl Kernel<R>) {
    // SAFETY: the whole program is compiled for the baseline.
    unsafe { kernel.run::<Baseline>() }
}

/// Runs a kernel in single precision, compiled for `level`.
pub fn single(level: SimdLevel, kernel: impl Kernel<f32>) {
    match level.isa() {
        Isa::Portable => baseline(level, kernel),
        // SAFETY: the level proves that the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { Avx2::vectorized(kernel) },
        // SAFETY: the level proves that the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { Avx512::vectorized(kernel) },
    }
}

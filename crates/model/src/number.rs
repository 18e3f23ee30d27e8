//! The floating-point types of a model: `f32` in production, `f64` for gradient checks.

use crate::kernels::simd::{self, Kernel};
use crate::kernels::{Lanes, SimdLevel};
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

/// A floating-point type in which a model can be computed.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Div<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Sub<Output = Self>
    + SubAssign
    + Sum
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Returns the nearest number of this type.
    fn of(x: f64) -> Self;
    /// Returns the number in double precision.
    fn wide(self) -> f64;
    /// Returns the square root.
    fn root(self) -> Self;
    /// Returns `self * factor + sum`, rounded once. Slow if the compiler may not use the FMA instruction.
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// Returns the numbers if they are of single precision, which alone has products in half precision.
    #[doc(hidden)]
    fn single(values: &[Self]) -> Option<&[f32]>;
    /// The same, mutably.
    #[doc(hidden)]
    fn single_mut(values: &mut [Self]) -> Option<&mut [f32]>;
    /// The same of tiles.
    #[doc(hidden)]
    fn single_tiles(tiles: &[Lanes<Self>]) -> Option<&[Lanes<f32>]>;
    /// The same of tiles, mutably.
    #[doc(hidden)]
    fn single_tiles_mut(tiles: &mut [Lanes<Self>]) -> Option<&mut [Lanes<f32>]>;

    /// Runs a kernel compiled for the instructions of `level`, if it has vectors of this type.
    #[doc(hidden)]
    fn vectorized(level: SimdLevel, kernel: impl Kernel<Self>);
}

macro_rules! real {
    ($($number:ty, $vectorized:path, $single:path);*) => {$(
        impl Real for $number {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline]
            fn of(x: f64) -> Self {
                x as $number
            }

            #[inline]
            fn wide(self) -> f64 {
                f64::from(self)
            }

            #[inline]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, sum: Self) -> Self {
                <$number>::mul_add(self, factor, sum)
            }

            fn single(values: &[Self]) -> Option<&[f32]> {
                $single(values)
            }

            fn single_mut(values: &mut [Self]) -> Option<&mut [f32]> {
                $single(values)
            }

            fn single_tiles(tiles: &[Lanes<Self>]) -> Option<&[Lanes<f32>]> {
                $single(tiles)
            }

            fn single_tiles_mut(tiles: &mut [Lanes<Self>]) -> Option<&mut [Lanes<f32>]> {
                $single(tiles)
            }

            #[inline]
            fn vectorized(level: SimdLevel, kernel: impl Kernel<Self>) {
                $vectorized(level, kernel)
            }
        }
    )*};
}

real!(f32, simd::single, Some; f64, simd::baseline, not_single);

fn not_single<T, U>(_: T) -> Option<U> {
    None
}

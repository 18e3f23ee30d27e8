//! Random bits to normal numbers, by the Box-Muller transform.
//!
//! [`of_bits`] defines them, by the logarithm and cosine of the system. [`fill`] computes several at once by its own
//! logarithm and cosine, of which it knows how far they may be from the others. A number that
//! rounds to the same `R` from both ends of that range is right; the few others are computed again by [`of_bits`].

use crate::kernels::SimdLevel;
use crate::kernels::versions::{CompiledLoop, run};
use crate::number::Real;
use std::f64::consts::TAU;

/// Number of numbers that are computed at once.
pub(super) const BLOCK: usize = 16;

/// 2^-32
const UNIT: f64 = 1.0 / 4_294_967_296.0;

/// Largest difference between a number computed by [`fill`] and by [`of_bits`], as a share of its radius: seven times
/// the sum of the rounding errors of both.
const ERROR: f64 = 1.5e-14;

/// Returns the standard normal number of some random bits: the radius is from the upper half, the angle from
/// the lower.
pub(super) fn of_bits(bits: u64) -> f64 {
    let radius = ((bits >> 32) as f64 + 1.0) * UNIT;
    let angle = (bits & 0xffff_ffff) as f64 * UNIT;
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}

/// Fills up to [`BLOCK`] values with `deviation` times the normal numbers of these bits.
pub(super) fn fill<R: Real>(
    level: SimdLevel,
    bits: &[u64; BLOCK],
    deviation: f64,
    values: &mut [R],
) {
    let ends = run(level, Ends { bits, deviation });
    for (i, value) in values.iter_mut().enumerate() {
        let [low, high] = [ends.0[i], ends.1[i]].map(R::of);
        // Zeros have a sign, which the comparison does not see.
        *value = if ends.0[i] < ends.1[i] && low == high && low != R::ZERO {
            low
        } else {
            R::of(of_bits(bits[i]) * deviation)
        };
    }
}

/// Computes for each number the ends of a range that holds it.
struct Ends<'a> {
    bits: &'a [u64; BLOCK],
    deviation: f64,
}

impl CompiledLoop for Ends<'_> {
    type Out = ([f64; BLOCK], [f64; BLOCK]);

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const N: usize>(self) -> Self::Out {
        let (mut low, mut high) = ([0.0; BLOCK], [0.0; BLOCK]);
        for i in 0..BLOCK {
            let (upper, lower) = ((self.bits[i] >> 32) as u32, self.bits[i] as u32);
            let radius =
                (-2.0 * logarithm((f64::from(upper) + 1.0) * UNIT)).sqrt() * self.deviation;
            let value = radius * cosine(lower);
            let error = radius * ERROR;
            (low[i], high[i]) = (value - error, value + error);
        }
        (low, high)
    }
}

/// Returns the natural logarithm of a normal positive number, to about one unit in the last place: the
/// method and the coefficients of FDLIBM's `e_log.c`.
#[inline(always)]
fn logarithm(x: f64) -> f64 {
    const ROOT_OF_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    // x = 2^k (1 + f), 1 + f from the square root of a half to that of two.
    let above = x.to_bits().wrapping_sub(ROOT_OF_HALF) as i64 >> 52;
    let f = f64::from_bits(x.to_bits().wrapping_sub((above as u64) << 52)) - 1.0;
    let k = f64::from(above as i32);
    let s = f / (2.0 + f);
    let z = s * s;
    let series = z
        * (6.666_666_666_666_735e-1
            + z * (3.999_999_999_940_942e-1
                + z * (2.857_142_874_366_239e-1
                    + z * (2.222_219_843_214_978_4e-1
                        + z * (1.818_357_216_161_805e-1
                            + z * (1.531_383_769_920_937_3e-1
                                + z * 1.479_819_860_511_658_6e-1))))));
    let half = 0.5 * f * f;
    k * LN_2_HIGH - ((half - (s * (half + series) + k * LN_2_LOW)) - f)
}

/// Returns the cosine of `turn / 2^32` turns: the Taylor series within a quarter turn of 0, or of half a turn.
#[inline(always)]
fn cosine(turn: u32) -> f64 {
    /// `1 / ((n - 1) n)` for even `n`, the last first. The term after them is below 2e-17.
    const FACTORS: [f64; 10] = [
        1.0 / 380.0,
        1.0 / 306.0,
        1.0 / 240.0,
        1.0 / 182.0,
        1.0 / 132.0,
        1.0 / 90.0,
        1.0 / 56.0,
        1.0 / 30.0,
        1.0 / 12.0,
        1.0 / 2.0,
    ];
    let is_far = turn.wrapping_add(1 << 30) >> 31;
    let rest = turn.wrapping_sub(is_far << 31) as i32;
    let angle = f64::from(rest) * (TAU * UNIT);
    let square = angle * angle;
    let mut sum = 1.0;
    for factor in FACTORS {
        sum = 1.0 - square * factor * sum;
    }
    sum * (1.0 - 2.0 * f64::from(is_far as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;

    /// Bits at the ends and turns of both halves, and random ones.
    fn blocks() -> impl Iterator<Item = [u64; BLOCK]> {
        let special = |half: u64| match half {
            0..8 => half << 29,
            8..12 => (half - 8) << 30 | 1,
            12..15 => (half - 11) << 30,
            _ => u64::from(u32::MAX),
        } & 0xffff_ffff;
        let pair = move |at: u64| special(at / 16) << 32 | special(at % 16);
        let special =
            (0..16).map(move |first| std::array::from_fn(|i| pair(first * 16 + i as u64)));
        let rng = CounterRng::new(5, "bits");
        let random = move |first: u64| std::array::from_fn(|i| rng.bits(first * 16 + i as u64));
        special.chain((0..20_000).map(random))
    }

    #[test]
    fn numbers_are_those_of_the_system_at_every_level() {
        for level in SimdLevel::all() {
            for bits in blocks() {
                for deviation in [1.0, 0.01, 1e-42, 0.0, -0.3] {
                    let mut values = [0.0f32; BLOCK];
                    fill(level, &bits, deviation, &mut values);
                    let exact = bits.map(|bits| (of_bits(bits) * deviation) as f32);
                    assert_eq!(
                        values.map(f32::to_bits),
                        exact.map(f32::to_bits),
                        "{bits:x?}"
                    );
                }
                let mut values = [0.0f64; 3];
                fill(level, &bits, 0.1, &mut values);
                assert_eq!(
                    values,
                    [bits[0], bits[1], bits[2]].map(|bits| of_bits(bits) * 0.1)
                );
            }
        }
    }

    #[test]
    fn numbers_lie_well_inside_their_ranges() {
        let level = SimdLevel::best();
        for bits in blocks() {
            let (low, high) = run(
                level,
                Ends {
                    bits: &bits,
                    deviation: 1.0,
                },
            );
            for (i, &bits) in bits.iter().enumerate() {
                let (middle, room) = ((low[i] + high[i]) / 2.0, (high[i] - low[i]) / 2.0);
                let distance = (of_bits(bits) - middle).abs();
                assert!(distance <= room / 5.0, "{bits:x}: {distance} of {room}");
            }
        }
    }
}

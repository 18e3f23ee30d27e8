//! Transposition of batch rows to lanes, and back.

use crate::kernels::versions::CompiledLoop;
use crate::kernels::{LANES, Lanes};
use crate::number::Real;

/// Number of rows, and features, that the portable version transposes at once.
const SIDE: usize = 16;

/// The arguments of [`super::into_lanes`].
pub(super) struct IntoLanes<'a, R> {
    pub(super) rows: &'a [R],
    pub(super) dim: usize,
    pub(super) lanes: &'a mut [Lanes<R>],
}

impl<R: Real> CompiledLoop for IntoLanes<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        let n_rows = self.rows.len() / self.dim;
        for (d, lane) in self.lanes.iter_mut().enumerate() {
            let column = self.rows.iter().skip(d).step_by(self.dim);
            lane.0
                .iter_mut()
                .zip(column)
                .for_each(|(lane, &value)| *lane = value);
            lane.0[n_rows..].fill(R::ZERO);
        }
    }
}

/// The arguments of [`super::into_rows`].
pub(super) struct IntoRows<'a, R> {
    pub(super) lanes: &'a [Lanes<R>],
    pub(super) n_rows: usize,
    pub(super) step: usize,
    pub(super) add: bool,
    pub(super) rows: &'a mut [R],
}

impl<R: Real> CompiledLoop for IntoRows<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const BLOCK: usize>(self) {
        for (part, lanes) in self.lanes.chunks(SIDE).enumerate() {
            let rows = self.rows.chunks_mut(self.step).take(self.n_rows);
            for (r, row) in rows.enumerate() {
                for (value, lane) in row[part * SIDE..].iter_mut().zip(lanes) {
                    let old = if self.add { *value } else { R::ZERO };
                    *value = old + lane.0[r];
                }
            }
        }
    }
}

/// The AVX-512 version: 16 rows and 16 features at once, in registers.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use super::{IntoLanes, IntoRows, LANES};
    use std::arch::x86_64::*;

    /// Number of rows of a square in registers: the number of lanes of a register.
    const SIDE: usize = 16;

    /// Returns the mask of the first `n` lanes of a register.
    fn first(n: usize) -> __mmask16 {
        u16::MAX
            .checked_shr(SIDE.saturating_sub(n) as u32)
            .unwrap_or(0)
    }

    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn into_lanes(args: IntoLanes<'_, f32>) {
        let IntoLanes { rows, dim, lanes } = args;
        let n_rows = rows.len() / dim;
        for (part, lanes) in lanes.chunks_mut(SIDE).enumerate() {
            let (first_d, within) = (part * SIDE, first(lanes.len()));
            for first_row in (0..LANES).step_by(SIDE) {
                let mut square = [_mm512_setzero_ps(); SIDE];
                for (row, vector) in (first_row..n_rows).zip(&mut square) {
                    let values = &rows[row * dim + first_d..(row + 1) * dim];
                    // SAFETY: `within` selects no more lanes than `lanes` has features from
                    // `first_d` on, which is at most the length of `values`; other lanes
                    // are not read.
                    *vector = unsafe { _mm512_maskz_loadu_ps(within, values.as_ptr()) };
                }
                transpose(&mut square);
                for (lane, &vector) in lanes.iter_mut().zip(&square) {
                    let place: &mut [f32] = &mut lane.0[first_row..first_row + SIDE];
                    // SAFETY: `place` is 16 numbers long.
                    unsafe { _mm512_storeu_ps(place.as_mut_ptr(), vector) };
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn into_rows(args: IntoRows<'_, f32>) {
        let IntoRows {
            lanes,
            n_rows,
            step,
            add,
            rows,
        } = args;
        for (part, lanes) in lanes.chunks(SIDE).enumerate() {
            let (first_d, within) = (part * SIDE, first(lanes.len()));
            for first_row in (0..n_rows).step_by(SIDE) {
                let mut square = [_mm512_setzero_ps(); SIDE];
                for (vector, lane) in square.iter_mut().zip(lanes) {
                    let place = &lane.0[first_row..first_row + SIDE];
                    // SAFETY: `place` is 16 numbers long.
                    *vector = unsafe { _mm512_loadu_ps(place.as_ptr()) };
                }
                transpose(&mut square);
                for (row, &vector) in (first_row..n_rows).zip(&square) {
                    let start = row * step + first_d;
                    let values = &mut rows[start..start + lanes.len().min(SIDE)];
                    let place = values.as_mut_ptr();
                    // SAFETY: `within` selects as many lanes as `values` has numbers; other lanes
                    // are neither read nor written.
                    unsafe {
                        let old = _mm512_maskz_loadu_ps(within, place);
                        let new = if add {
                            _mm512_add_ps(old, vector)
                        } else {
                            vector
                        };
                        _mm512_mask_storeu_ps(place, within, new);
                    }
                }
            }
        }
    }

    /// Transposes a square: number `c` of vector `r` becomes number `r` of vector `c`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transpose(square: &mut [__m512; SIDE]) {
        let mut pairs = [_mm512_setzero_ps(); SIDE];
        for (pair, rows) in pairs
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip(square.as_chunks::<2>().0)
        {
            pair[0] = _mm512_unpacklo_ps(rows[0], rows[1]);
            pair[1] = _mm512_unpackhi_ps(rows[0], rows[1]);
        }
        // Now each quarter of a vector holds two columns of two rows; next, one column of four rows.
        let fours = square.as_chunks_mut::<4>().0.iter_mut();
        for (four, pairs) in fours.zip(pairs.as_chunks::<4>().0) {
            let [a, b, c, d] = pairs.map(|pair| _mm512_castps_pd(pair));
            four[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
            four[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
            four[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
            four[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
        }
        // Quarter `q` of vector `4 g + c` is column `4 q + c` of rows `4 g..4 g + 4`.
        for c in 0..4 {
            let [a, b, e, f] = [square[c], square[4 + c], square[8 + c], square[12 + c]];
            let even = [
                _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_f32x4::<0b10_00_10_00>(e, f),
            ];
            let odd = [
                _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(e, f),
            ];
            square[c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even[0], even[1]);
            square[8 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even[0], even[1]);
            square[4 + c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd[0], odd[1]);
            square[12 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd[0], odd[1]);
        }
    }
}

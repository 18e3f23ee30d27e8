//! Numbers that begin at a cache line.

use crate::kernels::large_pages::{self, LARGE_PAGE};
use crate::number::Real;
use std::ops::{Deref, DerefMut};

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// A slice of numbers that begins at a cache line, so that rows of 16 or 32 `f32` span as few lines as possible. Clones
/// may begin elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Aligned<R> {
    /// With padding for the alignment.
    values: Vec<R>,
    start: usize,
    len: usize,
}

impl<R: Real> Aligned<R> {
    /// Sets the length. Memory is kept for shorter and somewhat longer slices; all numbers are unspecified.
    pub(crate) fn resize(&mut self, len: usize) {
        if self.values.len() - self.start < len {
            (self.values, self.start) = zeros(len + len / 8);
        }
        self.len = len;
    }
}

/// Returns zeros, and the place of the first of `len` that begin at a line, or at a page if they fill several large ones.
fn zeros<R: Real>(len: usize) -> (Vec<R>, usize) {
    if len * size_of::<R>() >= 2 * LARGE_PAGE {
        return large_pages::zeros(len);
    }
    let slack = LINE / size_of::<R>();
    let values = vec![R::ZERO; len + slack];
    let start = values.as_ptr().align_offset(LINE).min(slack);
    (values, start)
}

impl<R> Deref for Aligned<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        &self.values[self.start..self.start + self.len]
    }
}

impl<R> DerefMut for Aligned<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        &mut self.values[self.start..self.start + self.len]
    }
}

impl<R: Real> From<&[R]> for Aligned<R> {
    fn from(values: &[R]) -> Aligned<R> {
        let mut aligned = Aligned::default();
        aligned.resize(values.len());
        aligned.copy_from_slice(values);
        aligned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_line() {
        let mut aligned: Aligned<f32> = Aligned::from(&[1.0, 2.0, 3.0][..]);
        let copy = aligned.clone();
        assert_eq!(*copy, [1.0, 2.0, 3.0]);
        for len in [0, 5, 1000, 900, 2_000_000, 1100, 3] {
            aligned.resize(len);
            assert_eq!((aligned.len(), aligned.as_ptr() as usize % LINE), (len, 0));
            aligned.fill(7.0);
        }
        assert_eq!(*aligned, [7.0; 3]);
        assert!(Aligned::<f64>::default().is_empty());
    }
}

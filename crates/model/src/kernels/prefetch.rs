//! Prefetch hints. They do not change results.

use std::ops::Range;

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// Prefetches item `index`, all its cache lines. Does nothing if there is no such item, and on unsupported
/// processors.
#[inline]
pub fn prefetch<T>(values: &[T], index: usize) {
    prefetch_range(values, index..index.saturating_add(1));
}

/// Prefetches the cache lines of a range of items. Does nothing if the range is out of bounds.
#[inline]
pub fn prefetch_range<T>(values: &[T], range: Range<usize>) {
    let Some(items) = values.get(range) else {
        return;
    };
    let (first, n_bytes) = (items.as_ptr().cast::<u8>(), size_of_val(items));
    if n_bytes == 0 {
        return;
    }
    let before = first as usize % LINE;
    for at in (0..before + n_bytes).step_by(LINE) {
        fetch(first.wrapping_sub(before).wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn fetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 processor has this instruction, and it neither faults nor changes
    // memory.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn fetch(_line: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_out_of_bounds_are_ignored() {
        let values = [[1.0f32; 16]; 3];
        for index in [0, 2, 3, usize::MAX] {
            prefetch(&values, index);
        }
        prefetch(&[(); 4], 2);
        prefetch_range(&values, 1..3);
        prefetch_range(&values, Range { start: 3, end: 1 });
        prefetch_range(&values[0], 5..usize::MAX);
        assert_eq!(values, [[1.0; 16]; 3]);
    }
}

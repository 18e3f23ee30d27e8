//! Memory in large pages. Access to rows at random in pages of 4 KB spends more time on finding the page than on reading
//! the row; a large page holds thousands of rows.

/// Size of a large page in bytes.
pub(crate) const LARGE_PAGE: usize = 2 << 20;

/// Asks the system to provide the whole large pages inside `values` as such. It may decline, and pages that were
/// written before stay as they are. Does nothing on other systems than Linux.
#[cfg(target_os = "linux")]
pub(crate) fn use_large_pages<T>(values: &mut [T]) {
    use rustix::mm::{Advice, madvise};
    let first = values.as_mut_ptr().cast::<u8>();
    let before = first.align_offset(LARGE_PAGE);
    let n_bytes = size_of_val(values).saturating_sub(before) / LARGE_PAGE * LARGE_PAGE;
    if n_bytes > 0 {
        // SAFETY: the range lies inside a slice that is borrowed mutably; the advice does not change its contents.
        let advised = unsafe {
            madvise(
                first.wrapping_add(before).cast(),
                n_bytes,
                Advice::LinuxHugepage,
            )
        };
        // Without large pages it is slower, no less right.
        advised.ok();
    }
}

/// Does nothing: only Linux has this advice.
#[cfg(not(target_os = "linux"))]
pub(crate) fn use_large_pages<T>(_values: &mut [T]) {}

/// Returns zeros in large pages, aligned to their size, and the position of the first of the `len` zeros.
/// They take memory as they are written, a large page at a time.
pub(crate) fn zeros<T: Copy + Default>(len: usize) -> (Vec<T>, usize) {
    let slack = LARGE_PAGE / size_of::<T>();
    let mut values = vec![T::default(); len + slack];
    let start = values.as_ptr().align_offset(LARGE_PAGE).min(slack);
    use_large_pages(&mut values[start..]);
    (values, start)
}

//! A buffer with a size limit.

use super::too_large;
use crate::api_error::ApiError;
use crate::budget::Share;
use bytes::Bytes;

/// A contiguous buffer that doubles as bytes arrive, up to its limit plus one byte. Bytes that a peer has
/// only announced take no memory.
pub(super) struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    /// Share of a budget that the buffer has taken, if it has one.
    share: Option<Share>,
}

/// Size of the first allocation, unless the limit is lower.
const FIRST_BYTES: usize = 4 << 10;

impl Capped {
    pub(super) fn new(limit: usize) -> Capped {
        Capped {
            bytes: Vec::new(),
            limit,
            share: None,
        }
    }

    /// Creates a buffer whose bytes are taken from a budget.
    pub(super) fn sharing(limit: usize, share: Share) -> Capped {
        Capped {
            share: Some(share),
            ..Capped::new(limit)
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let n_bytes = self.bytes.len().saturating_add(piece.len());
        if n_bytes > self.limit {
            return Err(too_large("has more bytes", self.limit));
        }
        if n_bytes > self.bytes.capacity() {
            self.grow(n_bytes)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Returns the buffer with room for at least one more byte, possibly one beyond the limit, which
    /// distinguishes the end of a stream from excess data. Call [`check`](Capped::check) after writing.
    pub(super) fn with_room(&mut self) -> Result<&mut Vec<u8>, ApiError> {
        if self.bytes.len() == self.bytes.capacity() {
            self.grow(self.bytes.len() + 1)?;
        }
        Ok(&mut self.bytes)
    }

    /// Checks that the limit is not exceeded.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if self.bytes.len() > self.limit {
            Err(too_large("has more bytes, once decoded,", self.limit))
        } else {
            Ok(())
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self.share {
            Some(share) => share.hold(self.bytes),
            None => self.bytes.into(),
        }
    }

    fn grow(&mut self, n_bytes: usize) -> Result<(), ApiError> {
        let before = self.bytes.capacity();
        let doubled = before.saturating_mul(2).max(FIRST_BYTES);
        let capacity = doubled.min(self.limit).max(n_bytes);
        if let Some(share) = &mut self.share {
            // Both buffers exist while the bytes are copied.
            share.grow(capacity)?;
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        if let Some(share) = &mut self.share {
            share.shrink(before);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_error::ErrorKind;

    #[test]
    fn a_buffer_does_not_exceed_its_limit() {
        let mut capped = Capped::new(100_000);
        for _ in 0..100 {
            capped.push(&[7; 1000]).unwrap();
            assert!(capped.bytes.capacity() <= 100_000);
        }
        assert_eq!(capped.push(&[]), Ok(()));
        assert_eq!(capped.push(&[7]).unwrap_err().kind, ErrorKind::TooLarge);
        capped.check().unwrap();
        capped.with_room().unwrap().push(7);
        assert_eq!(capped.bytes.capacity(), 100_001);
        assert_eq!(capped.check().unwrap_err().kind, ErrorKind::TooLarge);
    }
}

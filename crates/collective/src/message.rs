//! Messages of several lists of numbers.

use crate::CollectiveError;
use bytemuck::{NoUninit, Pod};

/// Returns the numbers that some bytes hold, as many as are whole.
pub(crate) fn from_bytes<T: Pod>(bytes: &[u8]) -> Vec<T> {
    let n = bytes.len() / size_of::<T>();
    let mut values = vec![T::zeroed(); n];
    bytemuck::cast_slice_mut(&mut values).copy_from_slice(&bytes[..n * size_of::<T>()]);
    values
}

/// A message that is written: lists of numbers, one after the other, each after its length.
#[derive(Clone, Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Appends a list.
    pub fn push<T: NoUninit>(&mut self, values: &[T]) {
        let length = values.len() as u64;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(bytemuck::cast_slice(values));
    }

    /// Returns the bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A message that is read, list by list.
#[derive(Clone, Debug)]
pub struct MessageReader<'a> {
    rank: usize,
    rest: &'a [u8],
}

impl<'a> MessageReader<'a> {
    /// Begins to read a message of this rank.
    pub fn new(rank: usize, bytes: &'a [u8]) -> MessageReader<'a> {
        MessageReader { rank, rest: bytes }
    }

    /// Returns the next list.
    ///
    /// # Errors
    /// The message has ended, or does not hold a list of such numbers.
    pub fn take<T: Pod>(&mut self) -> Result<Vec<T>, CollectiveError> {
        let malformed = CollectiveError::Malformed { rank: self.rank };
        let Some((length, rest)) = self.rest.split_first_chunk() else {
            return Err(malformed);
        };
        let length = usize::try_from(u64::from_ne_bytes(*length)).ok();
        let n_bytes = length.and_then(|length| length.checked_mul(size_of::<T>()));
        let Some((values, rest)) = n_bytes.and_then(|n| rest.split_at_checked(n)) else {
            return Err(malformed);
        };
        self.rest = rest;
        Ok(from_bytes(values))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// There is more.
    pub fn end(self) -> Result<(), CollectiveError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CollectiveError::Malformed { rank: self.rank })
        }
    }
}

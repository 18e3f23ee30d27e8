//! A job of one rank.

use crate::{Collective, CollectiveError, Wait};

/// The only rank of a job: exchanges return what it sends, at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn n_ranks(&self) -> usize {
        1
    }

    fn exchange(&self, parts: &[&[u8]], _: Wait) -> Result<Vec<Vec<u8>>, CollectiveError> {
        assert_eq!(parts.len(), 1, "one part for each rank");
        Ok(vec![parts[0].to_vec()])
    }

    fn abort(&self, _: u8) {}
}

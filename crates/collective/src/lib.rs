//! Exchanges between the ranks of a job: processes, or threads, that train one model together.
//!
//! All ranks call the same exchanges in the same order. What a rank receives lies in the order of the ranks, and sums are
//! made of it in that order ([`sum`]), never by a reduction whose order the network decides: so the same number of ranks
//! gives the same bytes.
//!
//! ```
//! use ncs_collective::{Collective, threads};
//! use std::time::Duration;
//! let ranks = threads(2, Duration::from_secs(10));
//! std::thread::scope(|scope| {
//!     for rank in &ranks {
//!         scope.spawn(move || {
//!             let own = [rank.rank() as u8; 3];
//!             let all = rank.all_gather(&own).unwrap();
//!             assert_eq!(all, [[0; 3], [1; 3]]);
//!         });
//!     }
//! });
//! ```

mod message;
mod metered;
mod simulated;
mod solo;
mod threads;

pub use bytemuck::{NoUninit, Pod};
pub use message::{Message, MessageReader};
pub use metered::{Metered, Traffic};
pub use simulated::{Network, Simulated};
pub use solo::Solo;
pub use threads::{ThreadRank, threads};

/// Error of an exchange. After one, no further exchange can succeed: the job has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectiveError {
    /// A rank has ended before the exchange.
    #[error("rank {rank} of {n_ranks} has ended before its work was done; its own output says why")]
    Gone {
        /// The rank.
        rank: usize,
        /// Number of ranks.
        n_ranks: usize,
    },
    /// A rank has not answered in time.
    #[error(
        "rank {rank} of {n_ranks} has sent nothing for {seconds} s: its process is stopped or swapped out, its disk or \
         network hangs, or it needs longer than the timeout"
    )]
    Stuck {
        /// The rank.
        rank: usize,
        /// Number of ranks.
        n_ranks: usize,
        /// The timeout.
        seconds: u64,
    },
    /// A rank has sent something else than expected.
    #[error(
        "rank {rank} has sent a message of another form: all ranks must run the same build of the program"
    )]
    Malformed {
        /// The rank.
        rank: usize,
    },
    /// The launcher's communication does not work.
    #[error("{0}")]
    Unavailable(String),
}

/// Time that a rank waits for the others in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As long as the timeout of the job allows: all ranks are expected at about the same time.
    Timeout,
    /// As long as it takes: a rank works alone meanwhile.
    Unlimited,
}

/// The ranks of a job, as one of them sees it.
pub trait Collective: Send + Sync {
    /// Returns the number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of ranks, at least 1.
    fn n_ranks(&self) -> usize;

    /// Sends `parts[r]` to each rank `r`, and returns what each rank has sent to this one, in the order of the ranks; its
    /// own part is among them.
    ///
    /// # Errors
    /// A rank has ended or does not answer. A launcher's backend may end the whole job instead, with the same message.
    ///
    /// # Panics
    /// If there is not one part for each rank.
    fn exchange(&self, parts: &[&[u8]], wait: Wait) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Ends this rank, and with it the job, with this exit code. May return where the ranks are threads.
    fn abort(&self, code: u8);

    /// Exchanges as [`Collective::exchange`] does, within the timeout.
    ///
    /// # Errors
    /// Those of [`Collective::exchange`].
    fn all_to_all_v(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.exchange(parts, Wait::Timeout)
    }

    /// Returns the bytes of every rank, in their order; their lengths may differ.
    ///
    /// # Errors
    /// Those of [`Collective::exchange`].
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.exchange(&vec![own; self.n_ranks()], Wait::Timeout)
    }

    /// Returns the bytes of rank `root`; what other ranks pass is not looked at.
    ///
    /// # Errors
    /// Those of [`Collective::exchange`].
    fn broadcast(&self, root: usize, bytes: &[u8], wait: Wait) -> Result<Vec<u8>, CollectiveError> {
        let own = if self.rank() == root { bytes } else { &[] };
        let mut received = self.exchange(&vec![own; self.n_ranks()], wait)?;
        Ok(received.swap_remove(root))
    }

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    /// Those of [`Collective::exchange`].
    fn barrier(&self, wait: Wait) -> Result<(), CollectiveError> {
        self.exchange(&vec![&[][..]; self.n_ranks()], wait)
            .map(drop)
    }
}

/// Adds numbers of all ranks, in the order of the ranks: `((r0 + r1) + r2) + ...`, element by element.
///
/// # Errors
/// A rank has sent another number of them.
pub fn sum<T>(received: &[Vec<u8>]) -> Result<Vec<T>, CollectiveError>
where
    T: Pod + std::ops::AddAssign,
{
    let mut sum: Vec<T> = Vec::new();
    for (rank, bytes) in received.iter().enumerate() {
        let malformed = CollectiveError::Malformed { rank };
        if bytes.len() % size_of::<T>() != 0 {
            return Err(malformed);
        }
        let own: Vec<T> = message::from_bytes(bytes);
        if rank == 0 {
            sum = own;
        } else if own.len() == sum.len() {
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        } else {
            return Err(malformed);
        }
    }
    Ok(sum)
}

/// Returns the numbers that were sent as these bytes, as many as are whole.
pub fn numbers<T: Pod>(bytes: &[u8]) -> Vec<T> {
    message::from_bytes(bytes)
}

/// Returns numbers as bytes, to be sent.
pub fn as_bytes<T: NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

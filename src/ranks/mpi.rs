//! Ranks that a launcher has started: mpirun, srun, Kubeflow's MPIJob.
//!
//! Exchanges are messages between pairs of ranks, not MPI's collective calls: they tell which rank does not answer, and
//! a rank that waits can sleep.

use ::mpi::Threading;
use ::mpi::environment::Universe;
use ::mpi::request::{Request, Scope};
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::*;
use ncs_collective::{Collective, CollectiveError, Wait};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Largest piece of a message: MPI counts in `i32`. A shorter piece, maybe an empty one, ends a message.
const PIECE: usize = 1 << 30;

/// The tag of all messages.
const TAG: i32 = 2301;

/// Time during which a waiting rank asks again and again, before it sleeps in between. It does not yield: where other
/// programs want its core, it would get it back after their time slices only.
const EAGER: Duration = Duration::from_micros(50);

/// Time that it sleeps.
const PAUSE: Duration = Duration::from_micros(20);

/// Exit code of a job that ends because a rank does not answer.
const STUCK: i32 = 1;

/// Exit code of a job that ends because a rank has panicked: that of a Rust program that panics.
const PANICKED: u8 = 101;

/// A rank of a job that an MPI launcher has started. A rank that ends without having been dropped, or is killed, ends the
/// job: the launcher ends the other ranks and names it.
///
/// A rank that does not answer in time ends the job too, with a message on standard error: MPI cannot take back what was
/// sent to it.
pub(crate) struct Mpi {
    rank: usize,
    n_ranks: usize,
    timeout: Duration,
    /// Held during an exchange.
    turn: Mutex<()>,
    /// Ends MPI when it is dropped.
    _universe: Universe,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "rank {} of {}", self.rank, self.n_ranks)
    }
}

impl Mpi {
    /// Joins the job, once for a process.
    ///
    /// # Errors
    /// MPI has been started before, or does not allow calls from several threads in turn.
    pub(crate) fn start(timeout: Duration) -> Result<Mpi, CollectiveError> {
        let unavailable = |why: &str| CollectiveError::Unavailable(format!("MPI: {why}"));
        let started = ::mpi::initialize_with_threading(Threading::Serialized);
        let (universe, level) =
            started.ok_or_else(|| unavailable("it has been started already"))?;
        if level < Threading::Serialized {
            return Err(unavailable(
                "this library allows calls from the first thread only; use one with MPI_THREAD_SERIALIZED",
            ));
        }
        let world = universe.world();
        Ok(Mpi {
            rank: world.rank() as usize,
            n_ranks: world.size() as usize,
            timeout,
            turn: Mutex::new(()),
            _universe: universe,
        })
    }

    /// Ends the job, since these ranks do not answer.
    fn give_up(&self, rank: usize) -> ! {
        let error = CollectiveError::Stuck {
            rank,
            n_ranks: self.n_ranks,
            seconds: self.timeout.as_secs(),
        };
        eprintln!("rank {}: {error}; the job ends", self.rank);
        SimpleCommunicator::world().abort(STUCK)
    }

    /// Sends the parts of all other ranks, the next ranks first, and receives theirs.
    fn run<'a>(
        &self,
        scope: &::mpi::request::LocalScope<'a>,
        parts: &'a [&'a [u8]],
        wait: Wait,
        received: &mut [Incoming],
    ) {
        let world = SimpleCommunicator::world();
        let mut sent = Vec::new();
        for to in (1..self.n_ranks).map(|ahead| (self.rank + ahead) % self.n_ranks) {
            let process = world.process_at_rank(to as i32);
            for piece in pieces(parts[to]) {
                sent.push((to, process.immediate_send_with_tag(scope, piece, TAG)));
            }
        }
        let begun = Instant::now();
        loop {
            for (from, incoming) in received.iter_mut().enumerate() {
                incoming.take(&world, from);
            }
            sent = untested(sent);
            let missing = received.iter().position(|incoming| !incoming.is_whole);
            let Some(rank) = missing.or_else(|| Some(sent.first()?.0)) else {
                return;
            };
            let waited = begun.elapsed();
            if wait == Wait::Timeout && waited >= self.timeout {
                self.give_up(rank);
            }
            if waited < EAGER {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Mpi {
    /// Ends the job if this rank panics: to leave MPI in order, it would wait for the others.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort(PANICKED);
        }
    }
}

/// Returns the requests that are not complete.
fn untested<'a, S: Scope<'a>>(
    sent: Vec<(usize, Request<'a, [u8], S>)>,
) -> Vec<(usize, Request<'a, [u8], S>)> {
    let test = |(to, request): (usize, Request<'a, [u8], S>)| request.test().err().map(|r| (to, r));
    sent.into_iter().filter_map(test).collect()
}

/// Divides a message; the last piece is shorter than the others.
fn pieces(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let n = message.len() / PIECE + 1;
    (0..n).map(|i| &message[i * PIECE..message.len().min((i + 1) * PIECE)])
}

/// A message of another rank.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Incoming {
    /// Receives the pieces that have arrived.
    fn take(&mut self, world: &SimpleCommunicator, from: usize) {
        while !self.is_whole {
            let process = world.process_at_rank(from as i32);
            let Some((message, status)) = process.immediate_matched_probe_with_tag(TAG) else {
                return;
            };
            let n = status.count(u8::equivalent_datatype()) as usize;
            let start = self.bytes.len();
            self.bytes.resize(start + n, 0);
            message.matched_receive_into(&mut self.bytes[start..]);
            self.is_whole = n < PIECE;
        }
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    fn exchange(&self, parts: &[&[u8]], wait: Wait) -> Result<Vec<Vec<u8>>, CollectiveError> {
        assert_eq!(parts.len(), self.n_ranks, "one part for each rank");
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut received: Vec<Incoming> = Vec::new();
        received.resize_with(self.n_ranks, Incoming::default);
        received[self.rank] = Incoming {
            bytes: parts[self.rank].to_vec(),
            is_whole: true,
        };
        ::mpi::request::scope(|scope| self.run(scope, parts, wait, &mut received));
        Ok(received
            .into_iter()
            .map(|incoming| incoming.bytes)
            .collect())
    }

    fn abort(&self, code: u8) {
        SimpleCommunicator::world().abort(i32::from(code))
    }
}

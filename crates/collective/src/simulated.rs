//! A network that is slower than that of the ranks at hand, in simulated time.

use crate::{Collective, CollectiveError, Wait};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A network in which every rank has a link of its own, which sends and receives at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Bits that a rank sends in a second, and receives.
    pub bits_per_second: f64,
    /// Time from the sending of a message to its arrival, beside that of its bytes.
    pub latency: Duration,
}

impl Network {
    /// Returns the time of an exchange in which a rank sends and receives so many bytes.
    pub fn time(&self, sent: usize, received: usize) -> Duration {
        let bits = 8.0 * sent.max(received) as f64;
        self.latency + Duration::from_secs_f64(bits / self.bits_per_second)
    }
}

/// A rank whose exchanges take the time that a network would need, on a clock of its own: it counts the computing of this
/// rank, as `processor_time` reports it, and waits in each exchange for the rank whose clock is the latest.
///
/// So many ranks on a few cores tell the time of as many machines: no rank waits in fact, and what others compute
/// meanwhile does not count. A rank must compute on one thread, the one that exchanges.
pub struct Simulated<'a> {
    rank: &'a dyn Collective,
    network: Network,
    processor_time: fn() -> Duration,
    clock: Mutex<Clock>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    now: Duration,
    /// Part of `now` that was spent in exchanges, waiting for others included.
    exchanging: Duration,
    /// What `processor_time` was after the last exchange; `None` before the first.
    processor: Option<Duration>,
}

impl<'a> Simulated<'a> {
    /// Begins at time 0, and counts computing from the first exchange on.
    pub fn new(
        rank: &'a dyn Collective,
        network: Network,
        processor_time: fn() -> Duration,
    ) -> Simulated<'a> {
        Simulated {
            rank,
            network,
            processor_time,
            clock: Mutex::default(),
        }
    }

    /// Returns the time at the end of the last exchange, and how much of it was spent in exchanges.
    pub fn elapsed(&self) -> [Duration; 2] {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        [clock.now, clock.exchanging]
    }
}

impl Collective for Simulated<'_> {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn n_ranks(&self) -> usize {
        self.rank.n_ranks()
    }

    fn exchange(&self, parts: &[&[u8]], wait: Wait) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let processor = (self.processor_time)();
        let before = clock.processor.unwrap_or(processor);
        let begun = clock.now + processor.saturating_sub(before);
        let nanoseconds = u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX);
        let stamped: Vec<Vec<u8>> = parts
            .iter()
            .map(|part| [&nanoseconds.to_ne_bytes()[..], part].concat())
            .collect();
        let stamped: Vec<&[u8]> = stamped.iter().map(Vec::as_slice).collect();
        let received = self.rank.exchange(&stamped, wait)?;
        let (mut latest, mut messages) = (begun, Vec::with_capacity(received.len()));
        for (rank, bytes) in received.into_iter().enumerate() {
            let Some((sent_at, message)) = bytes.split_first_chunk() else {
                return Err(CollectiveError::Malformed { rank });
            };
            latest = latest.max(Duration::from_nanos(u64::from_ne_bytes(*sent_at)));
            messages.push(message.to_vec());
        }
        let of_others = |lengths: &mut dyn Iterator<Item = usize>| -> usize {
            let others = lengths.enumerate().filter(|(rank, _)| *rank != self.rank());
            others.map(|(_, length)| length).sum()
        };
        let sent = of_others(&mut parts.iter().map(|part| part.len()));
        let got = of_others(&mut messages.iter().map(Vec::len));
        let ended = latest + self.network.time(sent, got);
        clock.now = ended;
        clock.exchanging += ended - begun;
        // What the simulation itself took does not count.
        clock.processor = Some((self.processor_time)());
        Ok(messages)
    }

    fn abort(&self, code: u8) {
        self.rank.abort(code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A processor time that grows by 3 ms with each look: ranks differ by how often they have looked.
    fn processor_time() -> Duration {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        Duration::from_millis(3 * LOOKS.fetch_add(1, Ordering::Relaxed))
    }

    fn standing() -> Duration {
        Duration::ZERO
    }

    #[test]
    fn an_exchange_takes_the_time_of_the_network() {
        let network = Network {
            bits_per_second: 8e6,
            latency: Duration::from_millis(1),
        };
        let ranks = threads(3, Duration::from_secs(60));
        let elapsed = std::thread::scope(|scope| {
            let work = |rank| {
                let rank = Simulated::new(rank, network, standing);
                // A thousand bytes to each of two others take 2 ms.
                let parts = [[7u8; 1000]; 3];
                let parts = parts.each_ref().map(|part| &part[..]);
                let received = rank.all_to_all_v(&parts).unwrap();
                assert!(received.iter().all(|message| *message == [7u8; 1000]));
                rank.barrier(Wait::Timeout).unwrap();
                rank.elapsed()
            };
            let started: Vec<_> = ranks
                .iter()
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            let ended = started.into_iter().map(|thread| thread.join().unwrap());
            ended.collect::<Vec<_>>()
        });
        assert_eq!(elapsed, [[Duration::from_millis(4); 2]; 3]);
    }

    #[test]
    fn computing_counts_and_all_wait_for_the_slowest() {
        let network = Network {
            bits_per_second: 1e9,
            latency: Duration::from_millis(1),
        };
        let ranks = threads(2, Duration::from_secs(60));
        let elapsed = std::thread::scope(|scope| {
            let work = |rank: &crate::ThreadRank| {
                let time = if rank.rank() == 0 {
                    processor_time
                } else {
                    standing
                };
                let simulated = Simulated::new(rank, network, time);
                // The first rank looks twice in each exchange: 3 ms pass between two of them.
                (0..3).for_each(|_| simulated.barrier(Wait::Timeout).unwrap());
                simulated.elapsed()
            };
            let started: Vec<_> = ranks
                .iter()
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            let ended = started.into_iter().map(|thread| thread.join().unwrap());
            ended.collect::<Vec<_>>()
        });
        let milliseconds = |n| Duration::from_millis(n);
        assert_eq!(elapsed[0], [milliseconds(9), milliseconds(3)]);
        assert_eq!(elapsed[1], [milliseconds(9), milliseconds(9)]);
    }
}

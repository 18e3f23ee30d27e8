//! Guesses at a token, which are slowed: two at a time from an address, half a second each.

use crate::api_error::{ApiError, Kind};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// How long a wrong token holds its turn.
const PAUSE: Duration = Duration::from_millis(500);

/// Tokens from one address that are looked at at a time.
const TURNS: usize = 2;

/// Tokens from one address that wait for their turn; more are refused unseen.
const MOST_WAITING: usize = 32;

/// Addresses that are told apart; beyond them all are one.
const MOST_ADDRESSES: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Guesses {
    addresses: Mutex<HashMap<Option<IpAddr>, Arc<Turns>>>,
    pause: Duration,
}

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses::slowed_by(PAUSE)
    }
}

#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Guesses {
    fn slowed_by(pause: Duration) -> Guesses {
        Guesses {
            addresses: Mutex::default(),
            pause,
        }
    }

    /// Whether a token is right, in its turn; after a wrong one the address has a turn less for a while,
    /// even if its connection has gone.
    ///
    /// # Errors
    /// Too many from this address wait: [`Kind::Overloaded`].
    pub async fn check(
        &self,
        address: Option<IpAddr>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, ApiError> {
        let turns = self.of(address);
        let waits = Waits::begin(&turns)?;
        let turn = turns.free.clone().acquire_owned().await;
        drop(waits);
        if is_right() {
            return Ok(true);
        }
        let pause = self.pause;
        let pausing = tokio::spawn(async move {
            sleep(pause).await;
            drop((turn, turns));
        });
        // It sleeps, and does nothing else.
        let _ = pausing.await;
        Ok(false)
    }

    fn of(&self, address: Option<IpAddr>) -> Arc<Turns> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MOST_ADDRESSES {
            addresses.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let address = match addresses.len() < MOST_ADDRESSES {
            true => address.map(network),
            false => None,
        };
        let turns = || {
            Arc::new(Turns {
                free: Arc::new(Semaphore::new(TURNS)),
                waiting: AtomicUsize::new(0),
            })
        };
        addresses.entry(address).or_insert_with(turns).clone()
    }
}

/// An address, but for version 6 the network of 64 bits that one subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// One that waits for its turn.
struct Waits<'a>(&'a Turns);

impl Waits<'_> {
    fn begin(turns: &Turns) -> Result<Waits<'_>, ApiError> {
        let waits = Waits(turns);
        match turns.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING {
            true => Ok(waits),
            false => Err(Kind::Overloaded.says(
                "too many tokens from this address wait to be looked at; wrong ones are slowed: ask again \
                 in a moment",
            )),
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::time::{Instant, timeout};

    const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    const THERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::BROADCAST));

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn wrong_tokens_take_time_and_right_ones_none() {
        let guesses = Guesses::slowed_by(SHORT);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(guesses.check(HERE, || false).await, Ok(false));
        }
        assert!(began.elapsed() >= 3 * SHORT);
        let guesses = Guesses::slowed_by(Duration::from_secs(3600));
        assert_eq!(guesses.check(HERE, || true).await, Ok(true));
    }

    #[tokio::test]
    async fn leaving_early_does_not_shorten_the_pause() {
        let guesses = Guesses::slowed_by(Duration::from_secs(3600));
        for _ in 0..TURNS {
            let guess = guesses.check(HERE, || false);
            assert!(timeout(Duration::from_millis(1), guess).await.is_err());
        }
        assert_eq!(guesses.check(THERE, || true).await, Ok(true));
        assert!(timeout(SHORT, guesses.check(HERE, || true)).await.is_err());
    }

    #[tokio::test]
    async fn a_crowd_is_refused_unseen() {
        let guesses = Arc::new(Guesses::slowed_by(Duration::from_millis(1)));
        let guess = |_| {
            let guesses = guesses.clone();
            tokio::spawn(async move { guesses.check(HERE, || false).await })
        };
        let crowd: Vec<_> = (0..100).map(guess).collect();
        let mut n_refused = 0;
        for guess in crowd {
            n_refused += u32::from(guess.await.unwrap().is_err());
        }
        assert!(n_refused >= 60, "{n_refused}");
    }

    #[test]
    fn a_subscriber_has_a_network_of_64_bits() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }
}

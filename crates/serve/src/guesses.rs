//! Rate limit of wrong admin tokens: two checks at a time per address, half a second for each wrong token.

use crate::api_error::{ApiError, ErrorKind};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Delay after a wrong token, during which it occupies its permit.
const DELAY: Duration = Duration::from_millis(500);

/// Concurrent token checks per address.
const CHECKS_PER_ADDRESS: usize = 2;

/// Maximum number of waiting checks per address; more are refused without a check.
const MAX_WAITING: usize = 32;

/// Maximum number of addresses that are limited separately; beyond it all share one limit.
const MAX_ADDRESSES: usize = 1024;

/// Rate limit of wrong tokens, by address.
#[derive(Debug)]
pub struct TokenThrottle {
    addresses: Mutex<HashMap<Option<IpAddr>, Arc<Permits>>>,
    delay: Duration,
}

impl Default for TokenThrottle {
    fn default() -> TokenThrottle {
        TokenThrottle::with_delay(DELAY)
    }
}

#[derive(Debug)]
struct Permits {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl TokenThrottle {
    fn with_delay(delay: Duration) -> TokenThrottle {
        TokenThrottle {
            addresses: Mutex::default(),
            delay,
        }
    }

    /// Waits for a permit, then returns the result of `is_valid`. A wrong token keeps its permit for the
    /// delay, even if its connection has closed.
    ///
    /// # Errors
    /// Too many checks of this address are waiting: [`ErrorKind::Overloaded`].
    pub async fn check(
        &self,
        address: Option<IpAddr>,
        is_valid: impl FnOnce() -> bool,
    ) -> Result<bool, ApiError> {
        let permits = self.permits_of(address);
        let waits = Waiting::begin(&permits)?;
        let permit = permits.free.clone().acquire_owned().await;
        drop(waits);
        if is_valid() {
            return Ok(true);
        }
        let delay = self.delay;
        let delayed = tokio::spawn(async move {
            sleep(delay).await;
            drop((permit, permits));
        });
        // The task only sleeps.
        let _ = delayed.await;
        Ok(false)
    }

    fn permits_of(&self, address: Option<IpAddr>) -> Arc<Permits> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, permits| Arc::strong_count(permits) > 1);
        }
        let address = if addresses.len() < MAX_ADDRESSES {
            address.map(network)
        } else {
            None
        };
        let permits = || {
            Arc::new(Permits {
                free: Arc::new(Semaphore::new(CHECKS_PER_ADDRESS)),
                waiting: AtomicUsize::new(0),
            })
        };
        addresses.entry(address).or_insert_with(permits).clone()
    }
}

/// Returns the address; for IPv6 its /64 network, which one subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// A waiting check.
struct Waiting<'a>(&'a Permits);

impl Waiting<'_> {
    fn begin(permits: &Permits) -> Result<Waiting<'_>, ApiError> {
        let waits = Waiting(permits);
        if permits.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            Ok(waits)
        } else {
            Err(ErrorKind::Overloaded.error(
                "too many tokens from this address wait to be checked; wrong ones are rate-limited: try again \
                 in a moment",
            ))
        }
    }
}

impl Drop for Waiting<'_> {
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
    async fn wrong_tokens_are_delayed_and_right_ones_are_not() {
        let throttle = TokenThrottle::with_delay(SHORT);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(throttle.check(HERE, || false).await, Ok(false));
        }
        assert!(began.elapsed() >= 3 * SHORT);
        let throttle = TokenThrottle::with_delay(Duration::from_secs(3600));
        assert_eq!(throttle.check(HERE, || true).await, Ok(true));
    }

    #[tokio::test]
    async fn disconnecting_does_not_shorten_the_delay() {
        let throttle = TokenThrottle::with_delay(Duration::from_secs(3600));
        for _ in 0..CHECKS_PER_ADDRESS {
            let guess = throttle.check(HERE, || false);
            assert!(timeout(Duration::from_millis(1), guess).await.is_err());
        }
        assert_eq!(throttle.check(THERE, || true).await, Ok(true));
        assert!(timeout(SHORT, throttle.check(HERE, || true)).await.is_err());
    }

    #[tokio::test]
    async fn too_many_waiting_checks_are_refused() {
        let throttle = Arc::new(TokenThrottle::with_delay(Duration::from_millis(1)));
        let guess = |_| {
            let throttle = throttle.clone();
            tokio::spawn(async move { throttle.check(HERE, || false).await })
        };
        let checks: Vec<_> = (0..100).map(guess).collect();
        let mut n_refused = 0;
        for guess in checks {
            n_refused += u32::from(guess.await.unwrap().is_err());
        }
        assert!(n_refused >= 60, "{n_refused}");
    }

    #[test]
    fn an_ipv6_address_counts_as_its_64_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }
}

//! Exchanges between threads: order, lengths, sums, ends and timeouts.

use ncs_collective::{
    Collective, CollectiveError, Message, MessageReader, Metered, Solo, ThreadRank, Traffic, Wait,
    as_bytes, sum, threads,
};
use std::time::Duration;

/// Runs a function on each rank of a job, and returns the results in the order of the ranks.
fn on_ranks<T: Send>(n: usize, timeout: Duration, work: impl Fn(ThreadRank) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let started: Vec<_> = threads(n, timeout)
            .into_iter()
            .map(|rank| scope.spawn(move || work(rank)))
            .collect();
        let ended = started.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    })
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn every_rank_gets_what_each_rank_sent_to_it() {
    for n in [1, 2, 3, 5] {
        let received = on_ranks(n, LONG, |rank| {
            // Lengths differ, and some are 0.
            let part = |to: usize| vec![(10 * rank.rank() + to) as u8; to * rank.rank()];
            let parts: Vec<Vec<u8>> = (0..n).map(part).collect();
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            (0..3)
                .map(|_| rank.all_to_all_v(&parts).unwrap())
                .collect::<Vec<_>>()
        });
        for (to, rounds) in received.iter().enumerate() {
            for round in rounds {
                let expected: Vec<Vec<u8>> = (0..n)
                    .map(|from| vec![(10 * from + to) as u8; to * from])
                    .collect();
                assert_eq!(*round, expected);
            }
        }
    }
}

#[test]
fn sums_are_made_in_the_order_of_the_ranks() {
    // (1e8 + 1) - 1e8 is 0 in single precision, and 1 + (1e8 - 1e8) is 1.
    let own = [1e8f32, 1.0, -1e8];
    let sums = on_ranks(3, LONG, |rank| {
        let all = rank.all_gather(as_bytes(&[own[rank.rank()]])).unwrap();
        sum::<f32>(&all).unwrap()
    });
    assert_eq!(sums, [[0.0], [0.0], [0.0]]);
    let wrong = [vec![0; 8], vec![0; 4]];
    assert_eq!(
        sum::<f32>(&wrong),
        Err(CollectiveError::Malformed { rank: 1 })
    );
    assert_eq!(
        sum::<f64>(&wrong),
        Err(CollectiveError::Malformed { rank: 1 })
    );
}

#[test]
fn one_rank_speaks_to_all() {
    let heard = on_ranks(4, LONG, |rank| {
        rank.barrier(Wait::Timeout).unwrap();
        let text = format!("from {}", rank.rank());
        rank.broadcast(2, text.as_bytes(), Wait::Timeout).unwrap()
    });
    assert!(heard.iter().all(|text| text == b"from 2"));
    assert_eq!(
        Solo.broadcast(0, b"alone", Wait::Timeout).unwrap(),
        b"alone"
    );
    assert_eq!((Solo.rank(), Solo.n_ranks()), (0, 1));
}

#[test]
fn a_rank_that_ends_is_named_by_the_others() {
    let outcomes = on_ranks(3, LONG, |rank| {
        rank.barrier(Wait::Timeout)?;
        if rank.rank() == 1 {
            return Ok(());
        }
        rank.barrier(Wait::Unlimited)
    });
    let gone = CollectiveError::Gone {
        rank: 1,
        n_ranks: 3,
    };
    let text = gone.to_string();
    assert!(text.starts_with("rank 1 of 3 has ended"), "{text}");
    assert_eq!(outcomes[1], Ok(()));
    // The first to notice ends too; the last may name it instead.
    assert!(outcomes[0] == Err(gone.clone()) || outcomes[2] == Err(gone));
    assert!(outcomes[0].is_err() && outcomes[2].is_err());
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let outcomes = on_ranks(2, Duration::from_millis(20), |rank| {
        let (is_first, held) = (rank.rank() == 0, rank);
        if is_first {
            let outcome = held.barrier(Wait::Timeout);
            return (Some(outcome), None);
        }
        // It stays until the other has given up, without coming to the exchange.
        (None, Some(held))
    });
    let stuck = CollectiveError::Stuck {
        rank: 1,
        n_ranks: 2,
        seconds: 0,
    };
    assert_eq!(outcomes[0].0, Some(Err(stuck)));
    assert!(outcomes[1].1.is_some());
}

#[test]
fn messages_hold_lists_of_several_types() {
    let mut message = Message::default();
    message.push(&[1.5f32, -0.0]);
    message.push::<u32>(&[]);
    message.push(&[7u64]);
    let mut reader = MessageReader::new(3, message.bytes());
    assert_eq!(reader.take::<f32>().unwrap(), [1.5, -0.0]);
    assert_eq!(reader.take::<u32>().unwrap(), [0u32; 0]);
    assert!(reader.clone().end().is_err());
    assert_eq!(reader.take::<u64>().unwrap(), [7]);
    assert_eq!(reader.clone().end(), Ok(()));
    let malformed = Err(CollectiveError::Malformed { rank: 3 });
    assert_eq!(reader.take::<u8>(), malformed);
    for end in 0..message.bytes().len() {
        let mut cut = MessageReader::new(3, &message.bytes()[..end]);
        let all = [
            cut.take::<f32>().is_ok(),
            cut.take::<u32>().is_ok(),
            cut.take::<u64>().is_ok(),
        ];
        assert!(all.contains(&false), "cut at {end}");
    }
    let mut huge = MessageReader::new(0, &[255; 9]);
    assert!(huge.take::<f32>().is_err());
}

#[test]
fn what_a_rank_sends_is_counted() {
    let counted = on_ranks(3, LONG, |rank| {
        let metered = Metered::new(&rank);
        metered.all_to_all_v(&[&[0; 5], &[0; 7], &[0; 11]]).unwrap();
        metered.barrier(Wait::Timeout).unwrap();
        let Traffic {
            exchanges, bytes, ..
        } = metered.traffic();
        (metered.rank(), metered.n_ranks(), exchanges, bytes)
    });
    // What a rank sends to itself does not leave it.
    assert_eq!(counted, [(0, 3, 2, 18), (1, 3, 2, 16), (2, 3, 2, 12)]);
}

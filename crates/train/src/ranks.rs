//! The ranks of a run, each of which has the whole model, or all of it but the table rows of others, and computes its
//! share of every batch.
//!
//! Each rank reads the same batches, runs forward and backward on its share of the rows, and sends its sums to the others.
//! All ranks then have the same gradient, and make the same step. So whatever follows from the weights (validation,
//! early stopping, masks) is the same on all ranks, without any exchange. What does not (a signal, the clock, a
//! file) is decided by one of them for all.
//!
//! With tables in shards ([`RankTables::Sharded`]) a rank has the gradients of its own table rows only, and moves these.

mod shards;

pub(crate) use shards::RowLookups;

use crate::error::TrainError;
use crate::rank_tables::RankTables;
use ncs_collective::{
    Collective, CollectiveError, Message, MessageReader, Pod, Traffic, Wait, as_bytes, sum,
};
use ncs_model::{Gradient, Share, Table, TableShare};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// This rank among those of a run.
#[derive(Clone, Copy)]
pub(crate) struct Ranks<'a> {
    collective: &'a dyn Collective,
    tables: RankTables,
}

impl<'a> Ranks<'a> {
    pub(crate) fn new(collective: &'a dyn Collective, tables: RankTables) -> Ranks<'a> {
        Ranks { collective, tables }
    }

    /// Returns the table rows that this rank holds; `None`: all.
    pub(crate) fn table_share(self) -> Option<TableShare> {
        let is_sharded = self.tables == RankTables::Sharded && !self.is_alone();
        is_sharded.then(|| TableShare {
            index: self.collective.rank(),
            of: self.n_ranks(),
        })
    }

    /// Returns true if this rank holds a row of every table.
    pub(crate) fn owns(self, id: u32) -> bool {
        self.table_share().is_none_or(|share| share.owns(id))
    }

    /// Returns the number of ranks.
    pub(crate) fn n_ranks(self) -> usize {
        self.collective.n_ranks()
    }

    /// Returns this rank's share of every batch.
    pub(crate) fn share(self) -> Share {
        Share {
            index: self.collective.rank(),
            of: self.n_ranks(),
        }
    }

    fn is_alone(self) -> bool {
        self.n_ranks() == 1
    }

    /// Makes gradients and losses of this rank's share those of the whole batch: sums in the order of the ranks.
    /// `tables` are those that hold this rank's rows of the gradients' network; table rows of other ranks go to these.
    pub(crate) fn sum_step(
        self,
        tables: &[Table<f32>],
        gradients: &mut [Gradient],
        losses: &mut [f64],
    ) -> Result<(), TrainError> {
        if self.is_alone() {
            return Ok(());
        }
        if self.table_share().is_some() {
            return self.sum_step_to_owners(tables, gradients, losses);
        }
        let dense: Vec<f32> = gradients.iter().flat_map(|g| &g.dense).copied().collect();
        // Each rank sums one slice of layers and heads for all.
        let slice = |index: usize| {
            let of = self.n_ranks();
            &dense[Share { index, of }.rows(dense.len())]
        };
        let slices: Vec<&[u8]> = (0..self.n_ranks()).map(|r| as_bytes(slice(r))).collect();
        let own = sum::<f32>(&self.collective.all_to_all_v(&slices)?)?;
        let mut message = Message::default();
        message.push(&own);
        message.push(losses);
        for table in gradients.iter().flat_map(|gradient| &gradient.tables) {
            message.push(&table.ids);
            message.push(&table.values);
        }
        let received = self.collective.all_gather(message.bytes())?;
        Ok(set_to_sums(&received, tables, gradients, losses)?)
    }

    /// Returns the numbers of all rows of a batch, of which each rank passes those of its share.
    pub(crate) fn all_rows<T: Pod>(self, own: Vec<T>) -> Result<Vec<T>, TrainError> {
        let [all] = self.all_rows_of([own])?;
        Ok(all)
    }

    /// The same for several lists in one exchange.
    pub(crate) fn all_rows_of<T: Pod, L: AsMut<[Vec<T>]>>(
        self,
        mut own: L,
    ) -> Result<L, TrainError> {
        if self.is_alone() {
            return Ok(own);
        }
        let mut message = Message::default();
        let lists = own.as_mut();
        lists.iter().for_each(|list| message.push(list));
        let received = self.collective.all_gather(message.bytes())?;
        lists.iter_mut().for_each(Vec::clear);
        for (rank, bytes) in received.iter().enumerate() {
            let mut reader = MessageReader::new(rank, bytes);
            for list in lists.iter_mut() {
                list.extend(reader.take::<T>()?);
            }
            reader.end()?;
        }
        Ok(own)
    }

    /// Returns, for each of these flags, true if it is set on any rank.
    pub(crate) fn any<const N: usize>(self, own: [bool; N]) -> Result<[bool; N], TrainError> {
        if self.is_alone() {
            return Ok(own);
        }
        let received = self.collective.all_gather(&own.map(u8::from))?;
        let is_set = |i: usize| received.iter().any(|flags| flags.get(i) == Some(&1));
        Ok(std::array::from_fn(is_set))
    }

    /// Does work that is for one rank, such as writing a file, on the first; returns on every rank when it is done.
    ///
    /// # Errors
    /// That of the work, on all ranks.
    pub(crate) fn on_first(
        self,
        work: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        self.first(Wait::Timeout, work)
    }

    fn first(
        self,
        wait: Wait,
        work: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        if self.is_alone() {
            return work();
        }
        let done = (self.collective.rank() == 0).then(work);
        let failure = match &done {
            Some(Err(error)) => error.to_string(),
            _ => String::new(),
        };
        let failure = self.collective.broadcast(0, failure.as_bytes(), wait)?;
        match done {
            Some(done) => done,
            None if failure.is_empty() => Ok(()),
            None => Err(TrainError::OtherRank {
                rank: 0,
                what: String::from_utf8_lossy(&failure).into_owned(),
            }),
        }
    }

    /// Returns when every rank has done its own part of some work, with this outcome on this rank.
    ///
    /// # Errors
    /// That of the first rank that failed, on all ranks.
    pub(crate) fn all_done(self, own: Result<(), TrainError>) -> Result<(), TrainError> {
        if self.is_alone() {
            return own;
        }
        let failure = own.as_ref().err().map(ToString::to_string);
        let failure = self.first_found(failure)?;
        own?;
        match failure {
            None => Ok(()),
            Some((rank, what)) => Err(TrainError::OtherRank { rank, what }),
        }
    }

    /// Returns the text of the first rank that has one, and the rank.
    pub(crate) fn first_found(
        self,
        own: Option<String>,
    ) -> Result<Option<(usize, String)>, TrainError> {
        if self.is_alone() {
            return Ok(own.map(|text| (0, text)));
        }
        let mut message = Message::default();
        message.push(&[u8::from(own.is_some())]);
        message.push(own.unwrap_or_default().as_bytes());
        let received = self.collective.all_gather(message.bytes())?;
        for (rank, bytes) in received.iter().enumerate() {
            let mut reader = MessageReader::new(rank, bytes);
            if reader.take::<u8>()? == [1] {
                let text = reader.take::<u8>()?;
                return Ok(Some((rank, String::from_utf8_lossy(&text).into_owned())));
            }
        }
        Ok(None)
    }

    /// Returns what follows from the whole model: each rank finds it, or the first rank for all where the others hold a
    /// part of the model only.
    pub(crate) fn by_whole_model<T: Serialize + DeserializeOwned>(
        self,
        find: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        if self.table_share().is_none() {
            return find();
        }
        let mut found = None;
        self.first(Wait::Unlimited, || {
            found = Some(find()?);
            Ok(())
        })?;
        let text = found.map(|found| serde_json::to_vec(&found).expect("plain data"));
        let text = text.unwrap_or_default();
        let text = self.collective.broadcast(0, &text, Wait::Timeout)?;
        let malformed = CollectiveError::Malformed { rank: 0 };
        Ok(serde_json::from_slice(&text).map_err(|_| malformed)?)
    }

    /// Returns sums over the table rows of all ranks, of which each passes those of the rows that it holds.
    pub(crate) fn sums_over_rows<const N: usize>(
        self,
        own: [f64; N],
    ) -> Result<[f64; N], TrainError> {
        if self.table_share().is_none() {
            return Ok(own);
        }
        let sums = sum::<f64>(&self.collective.all_gather(as_bytes(&own))?)?;
        let malformed = CollectiveError::Malformed { rank: 0 };
        Ok(sums.try_into().map_err(|_| malformed)?)
    }

    /// Checks that a text is the same on all ranks; `what` names it.
    pub(crate) fn check_same(self, what: &'static str, own: &str) -> Result<(), TrainError> {
        if self.is_alone() {
            return Ok(());
        }
        let received = self.collective.all_gather(own.as_bytes())?;
        let other = received.iter().position(|text| *text != received[0]);
        let Some(rank) = other else { return Ok(()) };
        let [first, other] = [0, rank].map(|r| String::from_utf8_lossy(&received[r]).into_owned());
        Err(TrainError::RanksDiffer {
            what,
            rank,
            first,
            other,
        })
    }
}

/// Returns what the first rank has exchanged in the time of a run, as a line of the log.
pub(crate) fn in_words(traffic: Traffic, whole: Duration) -> String {
    let (exchanges, megabytes) = (traffic.exchanges, traffic.bytes as f64 / 1e6);
    let [own, all] = [traffic.time, whole].map(|time| time.as_secs_f64());
    format!(
        "ranks: {exchanges} exchanges, {megabytes:.1} MB sent by rank 0, {own:.1} s of {all:.1} s in exchanges"
    )
}

/// Sets gradients and losses to the sums of the messages of [`Ranks::sum_step`].
fn set_to_sums(
    received: &[Vec<u8>],
    tables: &[Table<f32>],
    gradients: &mut [Gradient],
    losses: &mut [f64],
) -> Result<(), CollectiveError> {
    let messages = received.iter().enumerate();
    let mut readers: Vec<MessageReader<'_>> = messages
        .map(|(rank, bytes)| MessageReader::new(rank, bytes))
        .collect();
    let mut dense = Vec::new();
    for reader in &mut readers {
        dense.extend(reader.take::<f32>()?);
    }
    set_dense(gradients, &dense)?;
    losses.fill(0.0);
    for (rank, reader) in readers.iter_mut().enumerate() {
        let own = reader.take::<f64>()?;
        if own.len() != losses.len() {
            return Err(CollectiveError::Malformed { rank });
        }
        losses
            .iter_mut()
            .zip(own)
            .for_each(|(sum, own)| *sum += own);
    }
    for gradient in gradients {
        set_tables_to_sums(&mut readers, tables, gradient)?;
    }
    readers.into_iter().try_for_each(MessageReader::end)
}

/// Sets the dense parts of gradients, one after the other.
fn set_dense(gradients: &mut [Gradient], dense: &[f32]) -> Result<(), CollectiveError> {
    let length: usize = gradients.iter().map(|gradient| gradient.dense.len()).sum();
    if dense.len() != length {
        return Err(CollectiveError::Malformed { rank: 0 });
    }
    let mut rest = dense;
    for gradient in gradients.iter_mut() {
        let (own, after) = rest.split_at(gradient.dense.len());
        gradient.dense.copy_from_slice(own);
        rest = after;
    }
    Ok(())
}

/// Sets the tables of a gradient to the sums of what the ranks have sent next.
fn set_tables_to_sums(
    readers: &mut [MessageReader<'_>],
    tables: &[Table<f32>],
    gradient: &mut Gradient,
) -> Result<(), CollectiveError> {
    for (gradient, table) in gradient.tables.iter_mut().zip(tables) {
        let mut parts = Vec::with_capacity(readers.len());
        for reader in readers.iter_mut() {
            parts.push((reader.take::<u32>()?, reader.take::<f32>()?));
        }
        let malformed = CollectiveError::Malformed { rank: 0 };
        gradient.set_to_sum(table, &parts).ok_or(malformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_collective::{ThreadRank, threads};

    fn on_ranks<T: Send>(n: usize, work: impl Fn(&ThreadRank) -> T + Sync) -> Vec<T> {
        let (ranks, work) = (threads(n, Duration::from_secs(60)), &work);
        std::thread::scope(|scope| {
            let started: Vec<_> = ranks
                .iter()
                .map(|rank| scope.spawn(move || work(rank)))
                .collect();
            let ended = started.into_iter().map(|thread| thread.join().unwrap());
            ended.collect()
        })
    }

    #[test]
    fn an_error_of_the_first_rank_is_one_of_all() {
        let outcomes = on_ranks(3, |rank| {
            let ranks = Ranks::new(rank, RankTables::Replicated);
            ranks.on_first(|| Ok(())).unwrap();
            let full = TrainError::Stopped {
                phase: "the disk is full".to_owned(),
                step: 7,
            };
            ranks.on_first(|| Err(full)).unwrap_err().to_string()
        });
        let text = "stopped at step 7 of the disk is full; run the same command again to resume";
        assert_eq!(outcomes[0], text);
        assert_eq!(
            outcomes[1..],
            [format!("rank 0: {text}"), format!("rank 0: {text}")]
        );
    }

    #[test]
    fn a_flag_of_one_rank_is_one_of_all() {
        let flags = on_ranks(3, |rank| {
            let ranks = Ranks::new(rank, RankTables::Replicated);
            ranks.any([ranks.share().index == 2, false]).unwrap()
        });
        assert_eq!(flags, [[true, false]; 3]);
    }

    #[test]
    fn rows_of_all_ranks_lie_in_their_order() {
        let all = on_ranks(3, |rank| {
            let ranks = Ranks::new(rank, RankTables::Replicated);
            let own = ranks.share().rows(7);
            let first: Vec<f64> = own.clone().map(|row| row as f64).collect();
            let second: Vec<f64> = own.step_by(2).map(|row| -(row as f64)).collect();
            ranks.all_rows_of([first, second]).unwrap()
        });
        // Shares are 0..2, 2..4 and 4..7.
        let expected = [
            vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            vec![-0.0, -2.0, -4.0, -6.0],
        ];
        assert!(all.iter().all(|rows| *rows == expected));
    }

    #[test]
    fn what_differs_is_told_with_its_rank() {
        let outcomes = on_ranks(3, |rank| {
            let own = if rank.rank() == 1 { "avx2" } else { "avx512" };
            Ranks::new(rank, RankTables::Replicated).check_same("the processor", own)
        });
        for outcome in outcomes {
            let text = outcome.unwrap_err().to_string();
            let start = "the ranks differ in the processor: avx512 on rank 0, avx2 on rank 1;";
            assert!(text.starts_with(start), "{text}");
        }
    }
}

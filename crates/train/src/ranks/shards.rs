//! Tables in shards: rows looked up at their owners, gradients sent to them, and the whole gathered.

use super::Ranks;
use crate::error::TrainError;
use ncs_collective::{CollectiveError, Message, MessageReader, as_bytes, sum};
use ncs_features::Batch;
use ncs_model::{
    Gradient, Model, Network, Purpose, RowRequests, RowWriter, Share, SparseRows, Spec, Table,
    TableStorage, Weights,
};
use std::sync::Arc;

/// Row numbers of which the rows are sent at once, when the whole of a table is gathered.
const ROWS_A_PIECE: usize = 1 << 20;

/// For the networks of a model, the rows of a batch, gathered from their owners. Between look-ups a network's tables
/// are this rank's shards; in a pass they are the gathered rows.
#[derive(Debug, Default)]
pub(crate) struct RowLookups {
    requests: RowRequests,
    networks: Vec<Lookup>,
}

/// The tables that a network does not have at the moment: gathered rows, or in a pass the shards.
#[derive(Debug, Default)]
struct Lookup {
    others: Vec<Table<f32>>,
    is_out: bool,
}

impl RowLookups {
    /// Makes network `number` ready for a pass over this rank's share of a batch. With whole tables, it initialises
    /// the rows of a training step. [`RowLookups::put_back`] has to follow.
    pub(crate) fn look_up(
        &mut self,
        ranks: Ranks<'_>,
        number: usize,
        (spec, network): (&Spec, &mut Network),
        batch: &Batch,
        purpose: Purpose,
    ) -> Result<(), TrainError> {
        if ranks.table_share().is_none() {
            if purpose == Purpose::Training {
                network.init_rows_of(batch);
            }
            return Ok(());
        }
        if self.networks.len() <= number {
            self.networks.resize_with(number + 1, Lookup::default);
        }
        let lookup = &mut self.networks[number];
        let shards = &mut network.tables;
        if lookup.others.is_empty() {
            lookup.others = shards.iter().map(Table::gathering).collect();
        }
        let rows = ranks.share().rows(batch.n_rows);
        let requests = &mut self.requests;
        requests.find(spec, batch, rows, purpose, ranks.n_ranks());
        ranks.gather_rows(requests, purpose, shards, &mut lookup.others)?;
        std::mem::swap(shards, &mut lookup.others);
        lookup.is_out = true;
        Ok(())
    }

    /// Gives a network its tables back after a pass.
    pub(crate) fn put_back(&mut self, number: usize, network: &mut Network) {
        let lookup = self.networks.get_mut(number);
        if let Some(lookup) = lookup.filter(|lookup| lookup.is_out) {
            std::mem::swap(&mut network.tables, &mut lookup.others);
            lookup.is_out = false;
        }
    }

    /// Returns the tables with this rank's rows of a network, also in a pass.
    pub(crate) fn held<'t>(&'t self, number: usize, network: &'t Network) -> &'t [Table<f32>] {
        let lookup = self.networks.get(number);
        let others = lookup.filter(|lookup| lookup.is_out);
        others.map_or(&network.tables, |lookup| &lookup.others)
    }
}

impl Ranks<'_> {
    /// Makes the tables of a model hold this rank's rows only, none of which is initialised.
    pub(crate) fn share_tables(self, model: &mut Model) {
        let Some(share) = self.table_share() else {
            return;
        };
        for number in 0..model.networks().len() {
            let tables = &mut model.network_mut(number).tables;
            tables.iter_mut().for_each(|table| table.hold_share(share));
        }
    }

    /// Replaces the rows of `gathered` by those of the requests, owner by owner, and answers the requests of others.
    fn gather_rows(
        self,
        requests: &RowRequests,
        purpose: Purpose,
        shards: &mut [Table<f32>],
        gathered: &mut [Table<f32>],
    ) -> Result<(), TrainError> {
        let asked = self.to_each(|owner, message| {
            requests.of_owner(owner).for_each(|ids| message.push(ids));
        })?;
        let mut answers = Vec::with_capacity(asked.len());
        for (rank, bytes) in asked.iter().enumerate() {
            answers.push(answer(rank, bytes, purpose, shards)?);
        }
        let answers: Vec<&[u8]> = answers.iter().map(Message::bytes).collect();
        let received = self.collective.all_to_all_v(&answers)?;
        gathered.iter_mut().for_each(Table::begin_gathering);
        for (owner, bytes) in received.iter().enumerate() {
            let mut reader = MessageReader::new(owner, bytes);
            for (table, ids) in gathered.iter_mut().zip(requests.of_owner(owner)) {
                let found = reader.take::<u8>()?;
                let values = reader.take::<f32>()?;
                let ids = ids.iter().zip(&found).filter(|(_, found)| **found == 1);
                let ids = ids.map(|(&id, _)| id);
                let malformed = CollectiveError::Malformed { rank: owner };
                table.gather(ids, &values).ok_or(malformed)?;
            }
            reader.end()?;
        }
        Ok(())
    }

    /// Writes a message to each rank, and returns what each has sent to this one.
    fn to_each(self, write: impl Fn(usize, &mut Message)) -> Result<Vec<Vec<u8>>, CollectiveError> {
        let message = |rank| {
            let mut message = Message::default();
            write(rank, &mut message);
            message
        };
        let messages: Vec<Message> = (0..self.n_ranks()).map(message).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Message::bytes).collect();
        self.collective.all_to_all_v(&messages)
    }

    /// Does the work of [`Ranks::sum_step`] where each rank needs the gradients of its own table rows only.
    pub(super) fn sum_step_to_owners(
        self,
        tables: &[Table<f32>],
        gradients: &mut [Gradient],
        losses: &mut [f64],
    ) -> Result<(), TrainError> {
        let dense: Vec<f32> = gradients.iter().flat_map(|g| &g.dense).copied().collect();
        let of = self.n_ranks();
        // Each rank sums one slice of layers and heads for all.
        let received = self.to_each(|index, message| {
            message.push(&dense[Share { index, of }.rows(dense.len())]);
            message.push(losses);
            for table in gradients.iter().flat_map(|gradient| &gradient.tables) {
                let (ids, values) = table.of_owner(index, of);
                message.push(ids);
                message.push(values);
            }
        })?;
        let messages = received.iter().enumerate();
        let mut readers: Vec<MessageReader<'_>> = messages
            .map(|(rank, bytes)| MessageReader::new(rank, bytes))
            .collect();
        let mut slices = Vec::with_capacity(of);
        losses.fill(0.0);
        for (rank, reader) in readers.iter_mut().enumerate() {
            slices.push(reader.take::<f32>()?);
            let own = reader.take::<f64>()?;
            if own.len() != losses.len() {
                return Err(CollectiveError::Malformed { rank }.into());
            }
            let sums = losses.iter_mut().zip(own);
            sums.for_each(|(sum, own)| *sum += own);
        }
        for gradient in gradients.iter_mut() {
            super::set_tables_to_sums(&mut readers, tables, gradient)?;
        }
        readers.into_iter().try_for_each(MessageReader::end)?;
        let slices: Vec<Vec<u8>> = slices
            .iter()
            .map(|slice| as_bytes(slice).to_vec())
            .collect();
        let own = sum::<f32>(&slices)?;
        let slices = self.collective.all_gather(as_bytes(&own))?;
        let whole: Vec<f32> = slices
            .iter()
            .flat_map(|slice| ncs_collective::numbers(slice))
            .collect();
        Ok(super::set_dense(gradients, &whole)?)
    }

    /// Returns weights with all rows of all tables on the first rank, in a storage; on others, and with whole tables, the
    /// same weights.
    pub(crate) fn whole(
        self,
        spec: &Spec,
        weights: &Arc<Weights>,
        storage: &TableStorage,
    ) -> Result<Arc<Weights>, TrainError> {
        if self.table_share().is_none() {
            return Ok(weights.clone());
        }
        let mut tables = Vec::with_capacity(weights.tables.len());
        for (table, rows) in spec.tables.iter().zip(&weights.tables) {
            let (mut ids, mut values) = (Vec::new(), RowWriter::new(storage)?);
            for first in (0..table.rows).step_by(ROWS_A_PIECE) {
                let piece = self.piece_of(rows, first..first + ROWS_A_PIECE, spec.plan.dim)?;
                ids.extend(piece.ids);
                values.push(&piece.values)?;
            }
            let values = values.finish()?;
            tables.push(SparseRows { ids, values });
        }
        if self.collective.rank() > 0 {
            return Ok(weights.clone());
        }
        let dense = weights.dense.clone();
        Ok(Arc::new(Weights { dense, tables }))
    }

    /// Sends a range of a table's rows to the first rank, which returns those of all ranks; others return none.
    fn piece_of(
        self,
        rows: &SparseRows<f32>,
        range: std::ops::Range<usize>,
        dim: usize,
    ) -> Result<SparseRows<f32>, TrainError> {
        let place = |row: usize| rows.ids.partition_point(|&id| (id as usize) < row);
        let own = place(range.start)..place(range.end);
        let received = self.to_each(|to, message| {
            let own = if to == 0 { own.clone() } else { 0..0 };
            message.push(&rows.ids[own.clone()]);
            message.push(&rows.values[own.start * dim..own.end * dim]);
        })?;
        let mut parts = Vec::with_capacity(received.len());
        for (rank, bytes) in received.iter().enumerate() {
            let mut reader = MessageReader::new(rank, bytes);
            let (ids, values) = (reader.take::<u32>()?, reader.take::<f32>()?);
            reader.end()?;
            if values.len() != ids.len() * dim {
                return Err(CollectiveError::Malformed { rank }.into());
            }
            let values = values.into();
            parts.push(SparseRows { ids, values });
        }
        Ok(SparseRows::joined(&parts, dim))
    }

    /// Returns how many table rows the ranks hold, in words; `None` with whole tables.
    pub(crate) fn rows_held(self, model: &Model) -> Result<Option<String>, TrainError> {
        if self.table_share().is_none() {
            return Ok(None);
        }
        let tables = model.networks().iter().flat_map(|network| &network.tables);
        let own: usize = tables.map(Table::n_initialised).sum();
        let counts = self.all_rows(vec![own as u64])?;
        let (least, most) = (counts.iter().min(), counts.iter().max());
        Ok(Some(format!(
            "tables: {} rows in {} shards, {} in the smallest and {} in the largest",
            counts.iter().sum::<u64>(),
            counts.len(),
            least.copied().unwrap_or(0),
            most.copied().unwrap_or(0),
        )))
    }
}

/// Answers the requests of a rank: for each table, which of the rows are initialised, and their vectors.
fn answer(
    rank: usize,
    requests: &[u8],
    purpose: Purpose,
    shards: &mut [Table<f32>],
) -> Result<Message, CollectiveError> {
    let mut reader = MessageReader::new(rank, requests);
    let mut answer = Message::default();
    let (mut values, mut found) = (Vec::new(), Vec::new());
    for table in shards {
        let ids = reader.take::<u32>()?;
        values.clear();
        found.clear();
        let initialises = purpose == Purpose::Training;
        let looked_up = table.look_up(&ids, initialises, &mut values, &mut found);
        looked_up.ok_or(CollectiveError::Malformed { rank })?;
        answer.push(&found);
        answer.push(&values);
    }
    reader.end()?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank_tables::RankTables;
    use ncs_collective::{ThreadRank, threads};
    use ncs_model::{CounterRng, Gram, NetworkKind, NetworkPlan, TableShare, TableSpec};
    use std::time::Duration;

    fn on_ranks<T: Send>(n: usize, work: impl Fn(Ranks<'_>) -> T + Sync) -> Vec<T> {
        let work = &work;
        let of_rank = |rank: ThreadRank| work(Ranks::new(&rank, RankTables::Sharded));
        std::thread::scope(|scope| {
            let ranks = threads(n, Duration::from_secs(60)).into_iter();
            let started: Vec<_> = ranks
                .map(|rank| scope.spawn(move || of_rank(rank)))
                .collect();
            let ended = started.into_iter().map(|thread| thread.join().unwrap());
            ended.collect()
        })
    }

    fn spec(rows: usize) -> Spec {
        Spec {
            fields: Vec::new(),
            tables: vec![TableSpec {
                name: "t".into(),
                rows,
                unknown: None,
            }],
            tasks: vec!["ctr".into()],
            links: Vec::new(),
            plan: NetworkPlan {
                kind: NetworkKind::SharedBottom,
                dim: 3,
                hidden: Vec::new(),
                gram: Gram::None,
                dropout: 0.0,
                table_deviation: None,
                heads: ncs_model::Heads::default(),
            },
        }
    }

    /// More rows than a piece has.
    const ROWS: usize = 2 * ROWS_A_PIECE + 5;

    #[test]
    fn the_whole_is_gathered_on_the_first_rank() {
        let ids = [0, 7, ROWS_A_PIECE - 1, ROWS_A_PIECE, ROWS - 2, ROWS - 1].map(|id| id as u32);
        let table = || Table::<f32>::new(ROWS, 3, CounterRng::new(1, "t"), 0.1);
        let mut whole = table();
        whole.init_rows(&ids);
        let whole = whole.sparse_rows();
        let gathered = on_ranks(3, |ranks| {
            let mut own = table();
            own.hold_share(ranks.table_share().unwrap());
            own.restore(&whole).unwrap();
            let weights = Weights {
                dense: vec![1.0],
                tables: vec![own.sparse_rows()],
            };
            let gathered = ranks
                .whole(&spec(ROWS), &Arc::new(weights), &TableStorage::Memory)
                .unwrap();
            gathered.tables[0].clone()
        });
        assert_eq!(gathered[0], whole);
        let others = gathered[1..].iter().map(|rows| rows.ids.len());
        assert!(others.sum::<usize>() < ids.len());
    }

    #[test]
    fn an_error_of_any_rank_is_one_of_all() {
        let outcomes = on_ranks(3, |ranks| {
            ranks.all_done(Ok(())).unwrap();
            let own = match ranks.share().index {
                1 => Err(TrainError::OtherRank {
                    rank: 9,
                    what: "the disk is full".to_owned(),
                }),
                _ => Ok(()),
            };
            ranks.all_done(own).unwrap_err().to_string()
        });
        let text = "rank 9: the disk is full";
        assert_eq!(outcomes[1], text);
        assert_eq!(
            [&outcomes[0], &outcomes[2]],
            [&format!("rank 1: {text}"); 2]
        );
    }

    #[test]
    fn what_follows_from_the_whole_model_is_found_by_the_first_rank() {
        let found = on_ranks(3, |ranks| {
            let own = ranks.share().index;
            let sums = ranks.sums_over_rows([own as f64, 1.0]).unwrap();
            (ranks.by_whole_model(|| Ok(own)).unwrap(), sums)
        });
        assert_eq!(found, [(0, [3.0, 3.0]); 3]);
    }

    #[test]
    fn a_row_belongs_to_one_rank() {
        let owned = on_ranks(3, |ranks| {
            (0..100).map(|id| ranks.owns(id)).collect::<Vec<_>>()
        });
        for id in 0..100 {
            let owners = owned.iter().filter(|owned| owned[id]).count();
            assert_eq!(
                (owners, owned[TableShare::owner(id as u32, 3)][id]),
                (1, true)
            );
        }
    }
}

//! From the gradients of field vectors to those of table rows: every id of a batch once.
//!
//! The ids of a table are sorted by where their rows lie, those that are equal in the order of fields and
//! rows; then the gradients of each are added up in this order. With several threads each sorts and adds up
//! a range of slots. So the sums do not depend on the number of threads.

mod part;

use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use crate::tables::Table;
use ncs_features::Batch;
use part::Part;
use rayon::prelude::*;

/// Fewer ids than this are not worth a thread.
const LEAST_IDS: usize = 2048;

/// The gradient of the rows that one step touches: each row once.
#[derive(Clone, Debug, Default)]
pub struct TableGradient<R> {
    /// The touched rows, each once, in the order in which the table has drawn them.
    pub ids: Vec<u32>,
    /// Their gradients, `[ids, dim]`.
    pub values: Vec<R>,
    /// What sorts and sums; kept for the next batch.
    parts: Vec<Part<R>>,
}

impl<R: Real> TableGradient<R> {
    /// The gradients `values`, `[ids, dim]`, of these rows.
    ///
    /// # Panics
    /// If the values are not a multiple of their number.
    pub fn new(ids: Vec<u32>, values: Vec<R>) -> TableGradient<R> {
        assert_eq!(
            values.len() % ids.len().max(1),
            0,
            "as many values for each id"
        );
        TableGradient {
            ids,
            values,
            parts: Vec::new(),
        }
    }
}

/// Sums the gradients `d_vectors` of a batch's field vectors, `[rows, vector fields * dim]`, by table and id, on at
/// most `n_threads` threads of the current pool. The buffers of `tables` are used again; their contents
/// are replaced. `drawn` are the tables, whose rows that the batch points to are drawn, and `located` is
/// where these lie.
///
/// # Panics
/// If the sizes do not fit each other, or a row is not drawn.
pub fn gather<R: Real>(
    spec: &Spec,
    drawn: &[Table<R>],
    batch: &Batch,
    located: &ResolvedIds,
    d_vectors: &[R],
    n_threads: usize,
    tables: &mut Vec<TableGradient<R>>,
) {
    let n_vectors = batch.n_rows * spec.vector_fields().count();
    assert_eq!(
        d_vectors.len(),
        n_vectors * spec.plan.dim,
        "gradients of another batch"
    );
    tables.resize_with(spec.tables.len(), || {
        TableGradient::new(Vec::new(), Vec::new())
    });
    for (t, table) in tables.iter_mut().enumerate() {
        table.divide(spec, located, batch, t, n_threads);
    }
    let mut parts: Vec<(usize, &mut Part<R>)> = Vec::new();
    for (t, table) in tables.iter_mut().enumerate() {
        parts.extend(table.parts.iter_mut().map(|part| (t, part)));
    }
    each_on(n_threads, parts, |(t, part)| {
        part.sort(spec, &drawn[t], batch, t, located)
    });
    let sums: Vec<_> = tables
        .iter_mut()
        .zip(drawn)
        .flat_map(|(table, drawn)| {
            let sums = table.sums(spec.plan.dim).into_iter();
            sums.map(move |(part, ids, values)| (part, drawn.ids(), ids, values))
        })
        .collect();
    each_on(n_threads, sums, |(part, drawn, ids, values)| {
        part.sum(d_vectors, drawn, ids, values)
    });
}

fn each_on<T: Send>(n_threads: usize, items: Vec<T>, each: impl Fn(T) + Sync + Send) {
    match n_threads {
        0 | 1 => items.into_iter().for_each(each),
        _ => items.into_par_iter().for_each(each),
    }
}

impl<R: Real> TableGradient<R> {
    /// Divides the ids of table `number` among threads.
    fn divide(
        &mut self,
        spec: &Spec,
        located: &ResolvedIds,
        batch: &Batch,
        number: usize,
        n_threads: usize,
    ) {
        let of_table = |n: usize| fields_of(spec, n).map(|f| batch.fields[f].ids.len());
        let n_ids: usize = of_table(number).sum();
        let all: usize = (0..spec.tables.len()).flat_map(of_table).sum();
        // A share of the threads by the share of the ids, rounded up.
        let share = (n_ids * n_threads).div_ceil(all.max(1));
        let n_parts = share.min(n_ids / LEAST_IDS).max(1);
        self.parts.resize_with(n_parts, Part::default);
        let cuts = cuts(spec, located, number, n_parts);
        for (part, (first, last)) in self.parts.iter_mut().zip(cuts) {
            part.own(first, last);
        }
    }

    /// Each part with the room for its ids and sums.
    fn sums(&mut self, dim: usize) -> Vec<(&Part<R>, &mut [u32], &mut [R])> {
        let n_ids = self.parts.iter().map(|part| part.n_ids).sum();
        // Every number is written: nothing needs to be cleared but what is new.
        self.ids.resize(n_ids, 0);
        self.values.resize(n_ids * dim, R::ZERO);
        let (mut ids, mut values) = (self.ids.as_mut_slice(), self.values.as_mut_slice());
        let mut rooms = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (own_ids, ids_behind) = ids.split_at_mut(part.n_ids);
            let (own_values, values_behind) = values.split_at_mut(part.n_ids * dim);
            (ids, values) = (ids_behind, values_behind);
            rooms.push((part, own_ids, own_values));
        }
        rooms
    }
}

/// The fields that look into a table.
fn fields_of(spec: &Spec, table: usize) -> impl Iterator<Item = usize> {
    let fields = spec.fields.iter().enumerate();
    fields
        .filter(move |(_, field)| field.table == table)
        .map(|(f, _)| f)
}

/// First and last slot of each part: about as many ids of the batch in each, by a sample of them.
fn cuts(spec: &Spec, located: &ResolvedIds, table: usize, n_parts: usize) -> Vec<(u32, u32)> {
    if n_parts == 1 {
        return vec![(0, u32::MAX)];
    }
    const EVERY: usize = 61;
    let fields = fields_of(spec, table).map(|f| located.slots_of(f));
    let mut sample: Vec<u32> = fields
        .flat_map(|slots| slots.iter().step_by(EVERY).copied())
        .collect();
    sample.sort_unstable();
    let mut firsts: Vec<u32> = (1..n_parts)
        .map(|i| sample[i * sample.len() / n_parts])
        .collect();
    firsts.retain(|&first| first > 0);
    firsts.dedup();
    let ends = firsts.iter().map(|first| first - 1).chain([u32::MAX]);
    let mut cuts: Vec<_> = [0]
        .into_iter()
        .chain(firsts.iter().copied())
        .zip(ends)
        .collect();
    // Where most ids are equal there are fewer parts: the rest own nothing.
    cuts.resize(n_parts, (1, 0));
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_rng::CounterRng;
    use crate::plan::{Gram, NetworkKind, NetworkPlan};
    use crate::spec::FieldSpec;
    use crate::spec::TableSpec;
    use ncs_features::{FieldIds, Pooling};
    use std::collections::BTreeMap;

    const DIM: usize = 3;
    const N_ROWS: usize = 700;

    /// Five fields over two tables, with every way of pooling.
    fn spec(rows: usize) -> Spec {
        let poolings = [
            None,
            Some(Pooling::Mean),
            Some(Pooling::PaddedMean),
            Some(Pooling::Sum),
            None,
        ];
        let field = |(f, pooling)| FieldSpec {
            table: usize::from(f == 4),
            pooling,
            pieces: None,
        };
        let table = |name: &str| TableSpec {
            name: name.into(),
            rows,
            unknown: None,
        };
        Spec {
            fields: poolings.into_iter().enumerate().map(field).collect(),
            tables: vec![table("words"), table("prices")],
            tasks: vec!["ctr".into()],
            plan: NetworkPlan {
                kind: NetworkKind::SharedBottom,
                dim: DIM,
                hidden: vec![],
                gram: Gram::None,
                dropout: 0.0,
                table_deviation: None,
                heads: crate::Heads::default(),
            },
        }
    }

    /// Ids that repeat, lists of 0 to 10 of them, and a scaled number.
    fn batch(spec: &Spec, rng: CounterRng) -> Batch {
        let field = |f: usize| {
            let rng = rng.at(f as u64);
            let n_rows = spec.tables[0].rows as f64;
            let id = |i: u64| (n_rows * rng.uniform(2 * i).powi(3)) as u32;
            let length = |row: usize| match f {
                0 => 1,
                4 => 2,
                _ => rng.bits(2 * row as u64 + 1) as usize % 11,
            };
            let mut ids = FieldIds {
                offsets: vec![0],
                ..FieldIds::default()
            };
            for row in 0..N_ROWS {
                let end = ids.offsets[row] + length(row) as u32;
                ids.ids
                    .extend((ids.offsets[row]..end).map(|i| id(u64::from(i))));
                ids.offsets.push(end);
            }
            match f {
                0 => ids.offsets.clear(),
                4 => {
                    ids.weights = (0..ids.ids.len())
                        .map(|i| rng.uniform(i as u64) as f32)
                        .collect()
                }
                _ => {}
            }
            ids
        };
        Batch {
            n_rows: N_ROWS,
            fields: (0..spec.fields.len()).map(field).collect(),
            ..Batch::default()
        }
    }

    /// By the letter: field after field, row after row.
    fn expected(
        spec: &Spec,
        drawn: &[Table<f32>],
        batch: &Batch,
        table: usize,
        d_vectors: &[f32],
    ) -> BTreeMap<u32, [f32; DIM]> {
        let mut sums: BTreeMap<u32, [f32; DIM]> = BTreeMap::new();
        let mut located = ResolvedIds::default();
        located.find(spec, drawn, batch, |_| true, 1);
        for f in fields_of(spec, table) {
            for row in 0..N_ROWS {
                let start = (row * spec.fields.len() + f) * DIM;
                located.each(batch, spec.fields[f], f, row, |slot, weight| {
                    let sums = sums.entry(drawn[table].ids()[slot as usize]).or_default();
                    for (sum, gradient) in sums.iter_mut().zip(&d_vectors[start..start + DIM]) {
                        *sum += weight as f32 * gradient;
                    }
                });
            }
        }
        sums
    }

    /// The tables, with all rows of the batch drawn in the order of their ids.
    fn drawn(spec: &Spec, batch: &Batch) -> Vec<Table<f32>> {
        let table = |t: usize| {
            let mut table = Table::new(spec.tables[t].rows, DIM, CounterRng::new(1, "table"), 0.1);
            let ids = fields_of(spec, t).flat_map(|f| batch.fields[f].ids.clone());
            let mut ids: Vec<u32> = ids.chain([0]).collect();
            ids.sort_unstable();
            table.touch_all_of(&ids);
            table
        };
        (0..spec.tables.len()).map(table).collect()
    }

    #[test]
    fn the_sums_are_those_of_one_after_another_for_any_number_of_threads() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let mut tables = Vec::new();
        for (case, rows) in [1, 7, 5000, 20_000_000, 40].into_iter().enumerate() {
            let spec = spec(rows);
            let rng = CounterRng::new(case as u64, "gather");
            let batch = batch(&spec, rng);
            let n = (N_ROWS * spec.fields.len() * DIM) as u64;
            let d_vectors: Vec<f32> = (0..n).map(|i| rng.normal(i) as f32).collect();
            let drawn = drawn(&spec, &batch);
            for n_threads in [1, 2, 3, 64] {
                pool.install(|| {
                    let mut located = ResolvedIds::default();
                    located.find(&spec, &drawn, &batch, |_| true, n_threads);
                    let tables = &mut tables;
                    gather(
                        &spec, &drawn, &batch, &located, &d_vectors, n_threads, tables,
                    )
                });
                for (t, found) in tables.iter().enumerate() {
                    let expected = expected(&spec, &drawn, &batch, t, &d_vectors);
                    assert!(
                        found.ids.iter().eq(expected.keys()),
                        "{rows} rows, {n_threads} threads"
                    );
                    let expected: Vec<f32> = expected.into_values().flatten().collect();
                    assert_eq!(found.values, expected, "{rows} rows, {n_threads} threads");
                }
            }
        }
    }

    #[test]
    fn a_batch_without_ids_has_no_gradient() {
        let spec = spec(10);
        let batch = Batch {
            fields: vec![FieldIds::default(); 5],
            ..Batch::default()
        };
        let mut tables: Vec<TableGradient<f32>> = Vec::new();
        let drawn = drawn(&spec, &batch);
        let mut located = ResolvedIds::default();
        located.find(&spec, &drawn, &batch, |_| true, 1);
        gather(&spec, &drawn, &batch, &located, &[], 2, &mut tables);
        assert!(
            tables
                .iter()
                .all(|table| table.ids.is_empty() && table.values.is_empty())
        );
    }
}

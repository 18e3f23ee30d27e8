//! Sums the gradients of field vectors by table row, each id of a batch once.
//!
//! The ids of a table are sorted by slot, equal ids in the order of fields and
//! rows; then the gradients of each id are summed in this order. With several threads, each sorts and sums
//! a range of slots, so the sums do not depend on the number of threads.

mod part;

use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use crate::tables::Table;
use ncs_features::Batch;
use part::Part;
use rayon::prelude::*;

/// Minimum number of ids for a thread of their own.
const LEAST_IDS: usize = 2048;

/// The gradient of the table rows that a batch points to, each row once.
#[derive(Clone, Debug, Default)]
pub struct TableGradient<R> {
    /// The rows, each once, in the order in which the table has initialised them.
    pub ids: Vec<u32>,
    /// Their gradients, `[ids, dim]`.
    pub values: Vec<R>,
    /// Buffers for sorting and summing; reused for the next batch.
    parts: Vec<Part<R>>,
}

impl<R: Real> TableGradient<R> {
    /// Creates a gradient from `values`, `[ids, dim]`, of these rows.
    ///
    /// # Panics
    /// If the number of values is not a multiple of the number of ids.
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
/// most `n_threads` threads of the current pool. The buffers of `gradients` are reused; their contents
/// are replaced. `resolved` holds the slots of the batch's ids in `tables`; their rows must be initialised.
///
/// # Panics
/// If the sizes do not match, or a row is not initialised.
pub fn gather<R: Real>(
    spec: &Spec,
    tables: &[Table<R>],
    batch: &Batch,
    resolved: &ResolvedIds,
    d_vectors: &[R],
    n_threads: usize,
    gradients: &mut Vec<TableGradient<R>>,
) {
    let n_vectors = batch.n_rows * spec.vector_fields().count();
    assert_eq!(
        d_vectors.len(),
        n_vectors * spec.plan.dim,
        "gradients of another batch"
    );
    gradients.resize_with(spec.tables.len(), || {
        TableGradient::new(Vec::new(), Vec::new())
    });
    for (t, gradient) in gradients.iter_mut().enumerate() {
        gradient.divide(spec, resolved, batch, t, n_threads);
    }
    let mut parts: Vec<(usize, &mut Part<R>)> = Vec::new();
    for (t, gradient) in gradients.iter_mut().enumerate() {
        parts.extend(gradient.parts.iter_mut().map(|part| (t, part)));
    }
    each_on(n_threads, parts, |(t, part)| {
        part.sort(spec, &tables[t], batch, t, resolved)
    });
    let sums: Vec<_> = gradients
        .iter_mut()
        .zip(tables)
        .flat_map(|(gradient, table)| {
            let sums = gradient.sums(spec.plan.dim).into_iter();
            sums.map(move |(part, ids, values)| (part, table.ids(), ids, values))
        })
        .collect();
    each_on(n_threads, sums, |(part, table_ids, ids, values)| {
        part.sum(d_vectors, table_ids, ids, values)
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
        resolved: &ResolvedIds,
        batch: &Batch,
        number: usize,
        n_threads: usize,
    ) {
        let of_table = |n: usize| fields_of(spec, n).map(|f| batch.fields[f].ids.len());
        let n_ids: usize = of_table(number).sum();
        let all: usize = (0..spec.tables.len()).flat_map(of_table).sum();
        // Threads in proportion to the share of the ids, rounded up.
        let share = (n_ids * n_threads).div_ceil(all.max(1));
        let n_parts = share.min(n_ids / LEAST_IDS).max(1);
        self.parts.resize_with(n_parts, Part::default);
        let cuts = cuts(spec, resolved, number, n_parts);
        for (part, (first, last)) in self.parts.iter_mut().zip(cuts) {
            part.set_slots(first, last);
        }
    }

    /// Returns each part with the buffers for its ids and sums.
    fn sums(&mut self, dim: usize) -> Vec<(&Part<R>, &mut [u32], &mut [R])> {
        let n_ids = self.parts.iter().map(|part| part.n_ids).sum();
        // Every value is overwritten: only new elements need to be set to zero.
        self.ids.resize(n_ids, 0);
        self.values.resize(n_ids * dim, R::ZERO);
        let (mut ids, mut values) = (self.ids.as_mut_slice(), self.values.as_mut_slice());
        let mut sums = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (own_ids, ids_after) = ids.split_at_mut(part.n_ids);
            let (own_values, values_after) = values.split_at_mut(part.n_ids * dim);
            (ids, values) = (ids_after, values_after);
            sums.push((part, own_ids, own_values));
        }
        sums
    }
}

/// Returns the fields that use a table.
fn fields_of(spec: &Spec, table: usize) -> impl Iterator<Item = usize> {
    let fields = spec.fields.iter().enumerate();
    fields
        .filter(move |(_, field)| field.table == table)
        .map(|(f, _)| f)
}

/// Returns the first and last slot of each part, with about as many ids of the batch in each, estimated from a sample.
fn cuts(spec: &Spec, resolved: &ResolvedIds, table: usize, n_parts: usize) -> Vec<(u32, u32)> {
    if n_parts == 1 {
        return vec![(0, u32::MAX)];
    }
    const EVERY: usize = 61;
    let fields = fields_of(spec, table).map(|f| resolved.slots_of(f));
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
    // If most ids are equal there are fewer parts: the remaining ones stay empty.
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

    /// Returns five fields over two tables, with every kind of pooling.
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

    /// Returns repeated ids, lists of 0 to 10 ids, and a scaled number.
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

    /// Returns the reference sums: field after field, row after row.
    fn expected(
        spec: &Spec,
        tables: &[Table<f32>],
        batch: &Batch,
        table: usize,
        d_vectors: &[f32],
    ) -> BTreeMap<u32, [f32; DIM]> {
        let mut sums: BTreeMap<u32, [f32; DIM]> = BTreeMap::new();
        let mut resolved = ResolvedIds::default();
        resolved.find(spec, tables, batch, |_| true, 1);
        for f in fields_of(spec, table) {
            for row in 0..N_ROWS {
                let start = (row * spec.fields.len() + f) * DIM;
                resolved.each(batch, spec.fields[f], f, row, |slot, weight| {
                    let sums = sums.entry(tables[table].ids()[slot as usize]).or_default();
                    for (sum, gradient) in sums.iter_mut().zip(&d_vectors[start..start + DIM]) {
                        *sum += weight as f32 * gradient;
                    }
                });
            }
        }
        sums
    }

    /// Returns the tables, with all rows of the batch initialised in the order of their ids.
    fn tables(spec: &Spec, batch: &Batch) -> Vec<Table<f32>> {
        let table = |t: usize| {
            let mut table = Table::new(spec.tables[t].rows, DIM, CounterRng::new(1, "table"), 0.1);
            let ids = fields_of(spec, t).flat_map(|f| batch.fields[f].ids.clone());
            let mut ids: Vec<u32> = ids.chain([0]).collect();
            ids.sort_unstable();
            table.init_rows(&ids);
            table
        };
        (0..spec.tables.len()).map(table).collect()
    }

    #[test]
    fn sums_equal_the_sequential_ones_for_any_number_of_threads() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let mut gradients = Vec::new();
        for (case, rows) in [1, 7, 5000, 20_000_000, 40].into_iter().enumerate() {
            let spec = spec(rows);
            let rng = CounterRng::new(case as u64, "gather");
            let batch = batch(&spec, rng);
            let n = (N_ROWS * spec.fields.len() * DIM) as u64;
            let d_vectors: Vec<f32> = (0..n).map(|i| rng.normal(i) as f32).collect();
            let tables = tables(&spec, &batch);
            for n_threads in [1, 2, 3, 64] {
                pool.install(|| {
                    let mut ids = ResolvedIds::default();
                    ids.find(&spec, &tables, &batch, |_| true, n_threads);
                    let gradients = &mut gradients;
                    gather(
                        &spec, &tables, &batch, &ids, &d_vectors, n_threads, gradients,
                    )
                });
                for (t, gradient) in gradients.iter().enumerate() {
                    let expected = expected(&spec, &tables, &batch, t, &d_vectors);
                    assert!(
                        gradient.ids.iter().eq(expected.keys()),
                        "{rows} rows, {n_threads} threads"
                    );
                    let expected: Vec<f32> = expected.into_values().flatten().collect();
                    assert_eq!(
                        gradient.values, expected,
                        "{rows} rows, {n_threads} threads"
                    );
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
        let mut gradients: Vec<TableGradient<f32>> = Vec::new();
        let tables = tables(&spec, &batch);
        let mut ids = ResolvedIds::default();
        ids.find(&spec, &tables, &batch, |_| true, 1);
        gather(&spec, &tables, &batch, &ids, &[], 2, &mut gradients);
        assert!(
            gradients
                .iter()
                .all(|gradient| gradient.ids.is_empty() && gradient.values.is_empty())
        );
    }
}

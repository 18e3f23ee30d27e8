//! Sums the gradients of field vectors by table row, each id of a batch once.
//!
//! The ids of a batch are marked in a set of bits, one for each slot; then the gradients of each id are summed in the
//! order of fields and rows. With several threads, each marks and sums a range of slots, so the sums do not depend on
//! the number of threads.

mod part;
mod summed;
mod terms;

use crate::aligned::Aligned;
use crate::attention::EventGradients;
use crate::number::Real;
use crate::resolved_ids::ResolvedIds;
use crate::spec::Spec;
use crate::tables::Table;
use ncs_features::Batch;
use part::{Part, PartSums};
use rayon::prelude::*;
use std::sync::Arc;
use terms::{PartTerms, SortedTerms, Terms};

/// Minimum number of ids for a thread of their own.
const LEAST_IDS: usize = 2048;

/// The gradient of the table rows that a batch points to, each row once.
#[derive(Clone, Debug, Default)]
pub struct TableGradient<R> {
    /// The rows, each once, in the order in which the table has initialised them.
    pub ids: Vec<u32>,
    /// Their gradients, `[ids, dim]`.
    pub values: Aligned<R>,
    /// Their slots; empty if they are not known.
    slots: Vec<u32>,
    /// Buffers for summing; reused for the next batch.
    parts: Vec<Part>,
    /// The terms of several parts; empty with one.
    sorted: Vec<SortedTerms>,
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
            values: Aligned::from(&values[..]),
            slots: Vec::new(),
            parts: Vec::new(),
            sorted: Vec::new(),
        }
    }

    /// Returns the slots of the rows in `table`, ascending, if a look-up has found them and the table still has these
    /// rows there.
    pub fn slots_in(&self, table: &Table<R>) -> Option<&[u32]> {
        let pairs = self.slots.iter().zip(&self.ids);
        let mut found = pairs.map(|(&slot, id)| table.ids().get(slot as usize) == Some(id));
        let is_known = self.slots.len() == self.ids.len() && found.all(|is_same| is_same);
        is_known.then_some(&self.slots[..])
    }
}

/// The gradients of a batch's vectors.
#[derive(Clone, Copy, Debug)]
pub struct VectorGradients<'a, R> {
    /// Those of the field vectors of the resolved rows, `[rows, vector fields * dim]`.
    pub fields: &'a [R],
    /// Those of the events that attention pools.
    pub events: &'a EventGradients<R>,
}

/// Sums the gradients `vectors` of the field vectors of a batch's resolved rows by table and id, on at
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
    vectors: VectorGradients<'_, R>,
    n_threads: usize,
    gradients: &mut Vec<TableGradient<R>>,
) {
    let n_vectors = resolved.rows().len() * spec.vector_fields().count();
    assert_eq!(
        vectors.fields.len(),
        n_vectors * spec.plan.dim,
        "gradients of another batch"
    );
    gradients.resize_with(spec.tables.len(), || {
        TableGradient::new(Vec::new(), Vec::new())
    });
    let terms = Terms {
        spec,
        batch,
        resolved,
        d_vectors: vectors.fields,
        events: vectors.events,
    };
    let mut unsorted = Vec::new();
    for (t, gradient) in gradients.iter_mut().enumerate() {
        let firsts: Arc<[u32]> = gradient.divide(terms, t, n_threads).into();
        let of_table = gradient.sorted.iter_mut();
        unsorted.extend(of_table.map(|sorted| (sorted, firsts.clone())));
    }
    each_on(n_threads, unsorted, |(sorted, firsts)| {
        sorted.sort(terms, &firsts)
    });
    let mut parts = Vec::new();
    for (t, gradient) in gradients.iter_mut().enumerate() {
        let sorted = &gradient.sorted[..];
        let of_table = gradient.parts.iter_mut().enumerate();
        parts.extend(of_table.map(|(number, part)| {
            let own = PartTerms {
                part: number,
                sorted,
            };
            (t, part, own)
        }));
    }
    each_on(n_threads, parts, |(t, part, own)| {
        part.mark(terms, t, tables[t].ids().len(), own)
    });
    let mut sums = Vec::new();
    for (t, gradient) in gradients.iter_mut().enumerate() {
        let of_table = gradient.sums(spec.plan.dim).into_iter();
        sums.extend(of_table.map(|(part, own, sums)| (t, part, own, sums)));
    }
    each_on(n_threads, sums, |(t, part, own, sums)| {
        part.sum(terms, t, tables[t].ids(), own, sums)
    });
}

fn each_on<T: Send>(n_threads: usize, items: Vec<T>, each: impl Fn(T) + Sync + Send) {
    match n_threads {
        0 | 1 => items.into_iter().for_each(each),
        _ => items.into_par_iter().for_each(each),
    }
}

impl<R: Real> TableGradient<R> {
    /// Divides the ids of table `number` among threads: into parts, and with several of these into terms to be sorted.
    /// Returns the first slot of each part that has any.
    fn divide(&mut self, terms: Terms<'_, R>, number: usize, n_threads: usize) -> Vec<u32> {
        let (spec, resolved) = (terms.spec, terms.resolved);
        let of_table = |n: usize| fields_of(spec, n).map(|f| resolved.own_slots_of(f).len());
        let n_ids: usize = of_table(number).sum();
        let all: usize = (0..spec.tables.len()).flat_map(of_table).sum();
        // Threads in proportion to the share of the ids, rounded up.
        let share = (n_ids * n_threads).div_ceil(all.max(1));
        let n_parts = share.min(n_ids / LEAST_IDS).max(1);
        let cuts = cuts(spec, resolved, number, n_parts);
        self.parts.resize_with(cuts.len(), Part::default);
        for (part, &(first, last)) in self.parts.iter_mut().zip(&cuts) {
            part.set_slots(first, last);
        }
        if cuts.len() > 1 {
            SortedTerms::divide(&mut self.sorted, terms, number, n_threads);
        } else {
            self.sorted.clear();
        }
        cuts.into_iter().map(|(first, _)| first).collect()
    }

    /// Returns each part with its terms, and the room for its ids and sums.
    fn sums(&mut self, dim: usize) -> Vec<(&mut Part, PartTerms<'_>, PartSums<'_, R>)> {
        let n_ids = self.parts.iter().map(|part| part.n_ids).sum();
        // Every value is overwritten: only new elements need to be set to zero.
        self.ids.resize(n_ids, 0);
        self.slots.resize(n_ids, 0);
        self.values.resize(n_ids * dim);
        let (mut ids, mut slots) = (self.ids.as_mut_slice(), self.slots.as_mut_slice());
        let mut values: &mut [R] = &mut self.values;
        let mut sums = Vec::with_capacity(self.parts.len());
        for (number, part) in self.parts.iter_mut().enumerate() {
            let own = PartSums {
                ids: ids.split_off_mut(..part.n_ids).unwrap_or_default(),
                slots: slots.split_off_mut(..part.n_ids).unwrap_or_default(),
                values: values.split_off_mut(..part.n_ids * dim).unwrap_or_default(),
            };
            let terms = PartTerms {
                part: number,
                sorted: &self.sorted,
            };
            sums.push((part, terms, own));
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

/// Returns the first and last slot of each part, with about as many ids of the batch in each, estimated from a sample. If
/// most ids are equal there are fewer parts.
fn cuts(spec: &Spec, resolved: &ResolvedIds, table: usize, n_parts: usize) -> Vec<(u32, u32)> {
    if n_parts == 1 {
        return vec![(0, u32::MAX)];
    }
    const EVERY: usize = 61;
    let fields = fields_of(spec, table).map(|f| resolved.own_slots_of(f));
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
    let firsts = [0].into_iter().chain(firsts.iter().copied());
    firsts.zip(ends).collect()
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

    fn of_fields<'a>(
        fields: &'a [f32],
        events: &'a EventGradients<f32>,
    ) -> VectorGradients<'a, f32> {
        VectorGradients { fields, events }
    }

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
            vector: None,
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
            links: Vec::new(),
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
        let (mut gradients, none) = (Vec::new(), EventGradients::default());
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
                    let vectors = of_fields(&d_vectors, &none);
                    gather(&spec, &tables, &batch, &ids, vectors, n_threads, gradients)
                });
                for (t, gradient) in gradients.iter().enumerate() {
                    let expected = expected(&spec, &tables, &batch, t, &d_vectors);
                    assert!(
                        gradient.ids.iter().eq(expected.keys()),
                        "{rows} rows, {n_threads} threads"
                    );
                    let slots: Vec<u32> =
                        gradient.ids.iter().map(|&id| tables[t].slot(id)).collect();
                    assert_eq!(gradient.slots_in(&tables[t]), Some(&slots[..]));
                    let expected: Vec<f32> = expected.into_values().flatten().collect();
                    assert_eq!(
                        *gradient.values, expected,
                        "{rows} rows, {n_threads} threads"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_of_events_are_summed_alike_on_any_number_of_threads() {
        let (spec, rng) = (spec(5000), CounterRng::new(9, "events"));
        let (batch, tables) = (batch(&spec, rng), tables(&spec, &batch(&spec, rng)));
        let d_vectors = vec![0.0f32; N_ROWS * spec.fields.len() * DIM];
        let mut events = EventGradients::default();
        events.resize(&[1], &batch, DIM);
        for (values, f) in events.all().into_iter().zip(0..) {
            let numbers = values.iter_mut().zip(0..);
            numbers.for_each(|(value, i)| *value = rng.at(f).normal(i) as f32);
        }
        let summed = |n_threads| {
            let (mut ids, mut gradients) = (ResolvedIds::default(), Vec::new());
            ids.find(&spec, &tables, &batch, |_| true, n_threads);
            let vectors = of_fields(&d_vectors, &events);
            let gather = || {
                gather(
                    &spec,
                    &tables,
                    &batch,
                    &ids,
                    vectors,
                    n_threads,
                    &mut gradients,
                )
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            pool.build().unwrap().install(gather);
            let gradient = &gradients[0];
            assert_eq!(gradient.sorted.is_empty(), n_threads == 1);
            (gradient.ids.clone(), gradient.values.to_vec())
        };
        let alone = summed(1);
        assert!(alone.1.iter().any(|&x| x != 0.0));
        assert_eq!(summed(2), alone);
        assert_eq!(summed(5), alone);
    }

    #[test]
    fn slots_of_another_table_are_not_used() {
        let spec = spec(50);
        let batch = batch(&spec, CounterRng::new(1, "gather"));
        let tables = tables(&spec, &batch);
        let d_vectors = vec![1.0f32; N_ROWS * spec.fields.len() * DIM];
        let (mut ids, mut gradients) = (ResolvedIds::default(), Vec::new());
        ids.find(&spec, &tables, &batch, |_| true, 1);
        let none = EventGradients::default();
        let vectors = of_fields(&d_vectors, &none);
        gather(&spec, &tables, &batch, &ids, vectors, 1, &mut gradients);
        let gradient = &mut gradients[0];
        assert!(gradient.slots_in(&tables[0]).is_some());
        let mut other = Table::new(50, DIM, CounterRng::new(1, "table"), 0.1);
        assert_eq!(gradient.slots_in(&other), None);
        (0..50).rev().for_each(|id| other.init_row(id));
        assert_eq!(gradient.slots_in(&other), None);
        gradient.ids.pop();
        assert_eq!(gradient.slots_in(&tables[0]), None);
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
        let none = EventGradients::default();
        let vectors = of_fields(&[], &none);
        gather(&spec, &tables, &batch, &ids, vectors, 2, &mut gradients);
        assert!(
            gradients
                .iter()
                .all(|gradient| gradient.ids.is_empty() && gradient.values.is_empty())
        );
    }
}

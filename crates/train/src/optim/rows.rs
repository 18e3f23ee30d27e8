//! Updates of embedding tables: row by row, only rows of the batch.

use super::rule::{Row, Rule};
use crate::optimizer::OptimizerKind;
use ncs_model::kernels::SimdLevel;
use ncs_model::kernels::versions::{CompiledLoop, run};
use ncs_model::{Real, SlotRows, SlotRowsPart, Table, TableGradient, fetch_rows};
use rayon::prelude::*;

/// Minimum number of rows for a thread.
const MIN_ROWS: usize = 2048;
/// Number of rows that are prefetched together while the block before them is updated. First the weights
/// of all rows are prefetched, then the moments: alternating is slower, since each access waits for its page.
const BLOCK: usize = 32;

/// Moments of an embedding table's initialised rows, first and second of a row side by side, in the order of the
/// table's slots.
#[derive(Clone, Debug)]
pub struct RowMoments<R: Real> {
    /// `[slots, first and second]`; as many as the table had at the last step.
    rows: SlotRows<R>,
    /// Number of first moments of a row.
    n_first: usize,
}

impl<R: Real> RowMoments<R> {
    pub(super) fn new(table: &Table<R>, kind: OptimizerKind) -> RowMoments<R> {
        let [n_first, n_second] = kind.moments_per_row(table.dim());
        RowMoments {
            rows: SlotRows::new_in(table.storage(), n_first + n_second, table.n_rows()),
            n_first,
        }
    }

    /// Adam's first moments of the row at `slot` of the table, `[dim]`; empty with Adagrad.
    pub fn first(&self, slot: u32) -> &[R] {
        self.both(slot).split_at(self.n_first).0
    }

    /// Adam's second moments of the row at `slot`, `[dim]`; Adagrad's sums of squares. Row-wise: one.
    pub fn second(&self, slot: u32) -> &[R] {
        self.both(slot).split_at(self.n_first).1
    }

    /// Returns both moments; zeros if no step followed the initialisation of the row.
    fn both(&self, slot: u32) -> &[R] {
        let has_any = (slot as usize) < self.rows.n_rows();
        self.rows.row(if has_any { slot } else { 0 })
    }

    /// All of them, `[slots, 2, dim]`.
    pub(crate) fn rows(&self) -> &SlotRows<R> {
        &self.rows
    }

    pub(crate) fn rows_mut(&mut self) -> &mut SlotRows<R> {
        &mut self.rows
    }

    /// Asks the system for those of these slots that lie in a file and not in memory.
    fn fetch(&self, moved: &[(u32, u32)]) {
        if self.rows.is_in_file() {
            let slots: Vec<u32> = moved.iter().map(|&(slot, _)| slot).collect();
            fetch_rows(&[(&self.rows, slots)]);
        }
    }

    /// Allocates moments for all initialised rows of the table.
    pub(crate) fn follow(&mut self, table: &Table<R>) {
        self.rows.grow_to(table.ids().len());
    }
}

/// Range of a table's rows, with their moments and gradients.
struct Part<'a, R> {
    rows: SlotRowsPart<'a, R>,
    moments: SlotRowsPart<'a, R>,
    /// Slots, ascending, each with the position of its gradient.
    moved: &'a [(u32, u32)],
    /// `[ids, dim]`, of all parts.
    gradients: &'a [R],
    /// `[ids]`, of all parts: factor of each row's update; empty: no scaling.
    shares: &'a [f32],
    dim: usize,
    /// Number of first moments of a row.
    n_first: usize,
}

/// Updates the rows of each table that are in its gradient. Each row is updated by one thread, independently:
/// the result does not depend on how many there are.
pub(super) fn step<R: Real>(
    rule: Rule<R>,
    tables: &mut [Table<R>],
    gradients: &[TableGradient<R>],
    moments: &mut [RowMoments<R>],
    shares: &[Vec<f32>],
) {
    let n_threads = rayon::current_num_threads();
    let all: usize = gradients.iter().map(|gradient| gradient.ids.len()).sum();
    // More parts than threads, since they end where chunks do and differ in size.
    let rows_a_part = all.div_ceil(4 * n_threads).max(MIN_ROWS);
    let moved: Vec<Vec<(u32, u32)>> = tables
        .iter_mut()
        .zip(gradients)
        .map(|(table, gradient)| {
            let mut moved = in_order(table, gradient);
            if table.keeps_any() {
                moved.retain(|&(slot, _)| !table.keeps(table.ids()[slot as usize]));
            }
            moved
        })
        .collect();
    let mut parts = Vec::new();
    let states = tables.iter_mut().zip(moments);
    let of_gradients = gradients.iter().zip(&moved).enumerate();
    for ((table, moments), (t, (gradient, moved))) in states.zip(of_gradients) {
        moments.follow(table);
        moments.fetch(moved);
        let shares = shares.get(t).map_or(&[][..], Vec::as_slice);
        divide(
            table,
            gradient,
            shares,
            moments,
            moved,
            rows_a_part,
            &mut parts,
        );
    }
    let level = SimdLevel::best();
    let step = |part: Part<'_, R>| run(level, PartStep { part, rule });
    match parts.len() {
        0 | 1 => parts.into_iter().for_each(step),
        _ if n_threads == 1 => parts.into_iter().for_each(step),
        _ => parts.into_par_iter().for_each(step),
    }
}

/// Returns the slots of a gradient's rows, ascending, each with its position in the gradient. Initialises rows
/// that are not initialised yet.
fn in_order<R: Real>(table: &mut Table<R>, gradient: &TableGradient<R>) -> Vec<(u32, u32)> {
    if let Some(slots) = gradient.slots_in(table) {
        return slots.iter().copied().zip(0..).collect();
    }
    if let Some(&id) = gradient
        .ids
        .iter()
        .find(|id| **id as usize >= table.n_rows())
    {
        panic!("the gradient belongs to another table: row {id} is out of range");
    }
    table.init_rows(&gradient.ids);
    let slots = gradient.ids.iter().map(|&id| table.slot(id));
    let mut moved: Vec<(u32, u32)> = slots.zip(0..).collect();
    if !moved.is_sorted() {
        moved.sort_unstable();
    }
    moved
}

fn divide<'a, R: Real>(
    table: &'a mut Table<R>,
    gradient: &'a TableGradient<R>,
    shares: &'a [f32],
    moments: &'a mut RowMoments<R>,
    moved: &'a [(u32, u32)],
    rows_a_part: usize,
    parts: &mut Vec<Part<'a, R>>,
) {
    let (dim, n_first) = (table.dim(), moments.n_first);
    // Each part but the last ends with the chunk in which it reaches `rows_a_part` rows.
    let enough = moved.iter().skip(rows_a_part - 1).step_by(rows_a_part);
    let rows = table.rows();
    let mut ends: Vec<usize> = enough.map(|&(slot, _)| rows.end_of_chunk(slot)).collect();
    ends.push(rows.end_of_chunk(rows.n_rows() as u32 - 1));
    ends.dedup();
    let mut moved = moved;
    let rows = table.rows_mut().split(&ends).into_iter();
    let moments = moments.rows.split(&ends).into_iter();
    for ((rows, moments), end) in rows.zip(moments).zip(ends) {
        let n = moved.partition_point(|&(slot, _)| (slot as usize) < end);
        let (own, behind) = moved.split_at(n);
        moved = behind;
        parts.push(Part {
            rows,
            moments,
            moved: own,
            gradients: &gradient.values,
            shares,
            dim,
            n_first,
        });
    }
}

/// The step of a part.
struct PartStep<'a, R> {
    part: Part<'a, R>,
    rule: Rule<R>,
}

impl<R: Real> CompiledLoop for PartStep<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<const FUSED: bool, const WIDTH: usize, const N: usize>(self) {
        let PartStep { mut part, rule } = self;
        let mut blocks = part.moved.chunks(BLOCK);
        let mut next = blocks.next();
        while let Some(block) = next {
            next = blocks.next();
            part.prefetch(next.unwrap_or_default());
            match part.shares {
                [] => part.step(block, |_, row| rule.apply(row)),
                shares => part.step(block, |place, row| {
                    rule.apply_in_part(R::of(f64::from(shares[place])), row);
                }),
            }
        }
    }
}

impl<R: Real> Part<'_, R> {
    /// Prefetches rows. Out of the loop, which leaves it as few registers as it leaves the loop.
    fn prefetch(&self, rows: &[(u32, u32)]) {
        rows.iter().for_each(|&(slot, _)| self.rows.prefetch(slot));
        rows.iter()
            .for_each(|&(slot, _)| self.moments.prefetch(slot));
    }

    /// Moves the rows of a block; `move_row` gets the position of each in the gradient.
    #[inline(always)]
    fn step(&mut self, block: &[(u32, u32)], move_row: impl Fn(usize, Row<'_, R>)) {
        let dim = self.dim;
        for &(slot, place) in block {
            let place = place as usize;
            let moments = self.moments.row_mut(slot);
            let (first, second) = moments.split_at_mut(self.n_first);
            let row = Row {
                weights: self.rows.row_mut(slot),
                gradients: &self.gradients[place * dim..(place + 1) * dim],
                first,
                second,
            };
            move_row(place, row);
        }
    }
}

/// Updates every row of the table; rows outside the batch have a gradient of zero.
pub(super) fn step_all<R: Real>(
    rule: Rule<R>,
    table: &mut Table<R>,
    gradient: &TableGradient<R>,
    moments: &mut RowMoments<R>,
) {
    let dim = table.dim();
    let zeros = vec![R::ZERO; dim];
    (0..table.n_rows() as u32).for_each(|id| table.init_row(id));
    let moved = in_order(table, gradient);
    moments.follow(table);
    let mut next = moved.iter().peekable();
    for slot in 1..table.ids().len() as u32 {
        let gradients = next
            .next_if(|(moved, _)| *moved == slot)
            .map_or(&*zeros, |&(_, place)| {
                &gradient.values[place as usize * dim..(place as usize + 1) * dim]
            });
        if table.keeps(table.ids()[slot as usize]) {
            continue;
        }
        let row = moments.rows.row_mut(slot);
        let (first, second) = row.split_at_mut(moments.n_first);
        rule.apply(Row {
            weights: table.rows_mut().row_mut(slot),
            gradients,
            first,
            second,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Optimizer;
    use ncs_model::{CounterRng, InitialRows};
    use std::sync::Arc;

    const N_ROWS: usize = 100_000;
    const DIM: usize = 16;

    fn table() -> Table<f32> {
        Table::new(N_ROWS, DIM, CounterRng::new(1, "t"), 0.1)
    }

    fn gradient(ids: Vec<u32>) -> TableGradient<f32> {
        let gradients =
            (0..ids.len() * DIM).map(|i| CounterRng::new(2, "g").normal(i as u64) as f32);
        let gradients = gradients.collect();
        TableGradient::new(ids, gradients)
    }

    fn kind() -> OptimizerKind {
        OptimizerKind::adam()
    }

    fn rule() -> Rule<f32> {
        rule_of(kind())
    }

    fn rule_of(kind: OptimizerKind) -> Rule<f32> {
        let optimizer = Optimizer {
            learning_rate: 0.1,
            kind,
        };
        Rule::new(optimizer, 1, 1.0, 0.0)
    }

    #[test]
    fn rows_move_alike_on_any_number_of_threads() {
        let crowded = (0..6000).chain((6000..100_000).step_by(17));
        let first = gradient(crowded.collect());
        let second = gradient((1..99_999).step_by(7).collect());
        let stepped = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
            let mut tables = vec![table(), table()];
            let mut moments: Vec<_> = tables
                .iter()
                .map(|table| RowMoments::new(table, kind()))
                .collect();
            pool.build().unwrap().install(|| {
                let gradients = [first.clone(), second.clone()];
                step(rule(), &mut tables, &gradients, &mut moments, &[]);
                let gradients = [second.clone(), first.clone()];
                step(rule(), &mut tables, &gradients, &mut moments, &[]);
            });
            let moments_of = |(table, moments): (&Table<f32>, &RowMoments<f32>)| {
                let ids = table.initialised_ids();
                ids.flat_map(|id| moments.rows().row(table.slot(id)).to_vec())
                    .collect::<Vec<f32>>()
            };
            let all: Vec<_> = tables.iter().zip(&moments).map(moments_of).collect();
            (
                tables.iter().map(Table::sparse_rows).collect::<Vec<_>>(),
                all,
            )
        };
        let one = stepped(1);
        assert!(
            one.0[0].ids.len() > 4 * MIN_ROWS,
            "enough for several parts"
        );
        assert!(one == stepped(2));
        assert!(one == stepped(3));
    }

    #[test]
    fn a_row_moves_by_its_share_of_the_step() {
        let moved = |shares: &[Vec<f32>]| {
            let mut tables = [table()];
            let mut moments = [RowMoments::new(&tables[0], kind())];
            let gradient = gradient(vec![5, 9]);
            step(
                rule(),
                &mut tables,
                std::slice::from_ref(&gradient),
                &mut moments,
                shares,
            );
            [5, 9].map(|id| tables[0].row(id).to_vec())
        };
        let untouched = {
            let mut table = table();
            table.init_rows(&[5, 9]);
            [5, 9].map(|id| table.row(id).to_vec())
        };
        let (whole, scaled_update) = (moved(&[]), moved(&[vec![0.5, 0.0]]));
        assert_eq!(scaled_update[1], untouched[1]);
        for ((whole, part), start) in whole[0].iter().zip(&scaled_update[0]).zip(&untouched[0]) {
            assert!(((part - start) - (whole - start) / 2.0).abs() < 1e-6);
        }
        assert_eq!(moved(&[vec![1.0, 1.0]]), whole);
    }

    #[test]
    fn kept_rows_stay_at_their_vectors_and_others_move() {
        let vector = [0.25; DIM];
        let stepped = |is_frozen, all: bool| {
            let mut initial = InitialRows::new(DIM, is_frozen);
            initial.insert(5, &vector);
            let mut tables = [Table::new(20, DIM, CounterRng::new(1, "t"), 0.1)];
            tables[0].begin_at(Arc::new(initial));
            let mut moments = [RowMoments::new(&tables[0], kind())];
            let gradients = [gradient(vec![5, 9])];
            if all {
                step_all(rule(), &mut tables[0], &gradients[0], &mut moments[0]);
            } else {
                step(rule(), &mut tables, &gradients, &mut moments, &[]);
            }
            let [table] = tables;
            let moved = |id: u32| moments[0].rows().row(table.slot(id)) != [0.0; 2 * DIM];
            ([5, 9].map(|id| table.row(id).to_vec()), [5, 9].map(moved))
        };
        for all in [false, true] {
            let (frozen, moments) = stepped(true, all);
            assert_eq!((&frozen[0][..], moments), (&vector[..], [false, true]));
            let (trained, moments) = stepped(false, all);
            assert!(trained[0] != vector && moments == [true, true]);
            assert_eq!(frozen[1], trained[1]);
        }
    }

    #[test]
    #[should_panic(expected = "the gradient belongs to another table: row 100000 is out of range")]
    fn a_row_that_is_not_there_is_told() {
        let mut tables = [table()];
        let mut moments = [RowMoments::new(&tables[0], kind())];
        step(
            rule(),
            &mut tables,
            &[gradient(vec![5, 100_000])],
            &mut moments,
            &[],
        );
    }

    /// Fifteen million rows of which a thousand move: what is written is seen in the resident memory, beside which that of
    /// other tests of this process is small.
    #[cfg(target_os = "linux")]
    #[test]
    fn rows_outside_of_the_batch_are_never_written() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut tables = [Table::new(15_000_000, DIM, CounterRng::new(1, "t"), 0.1)];
        let mut moments = [RowMoments::new(&tables[0], kind())];
        let ids = (0..1000).map(|i| i * 14_999).collect();
        step(rule(), &mut tables, &[gradient(ids)], &mut moments, &[]);
        assert_eq!(tables[0].n_initialised(), 1000);
        let grown = resident().saturating_sub(before);
        assert!(grown < 500 << 20, "{grown} bytes of 2880 MB are resident");
    }
}

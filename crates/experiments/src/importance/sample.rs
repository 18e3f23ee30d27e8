//! A sample of raw rows in memory, and permutations of one of their columns.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ncs_features::hash::{below, mix, seeded_hash};
use ncs_features::{Beside, Block, Column, Encoder, Field, Schema, Values};

use super::refuse_stop;
use crate::error::Error;
use crate::scoring::{EvaluationListener, LoadedModel, Rows, absent_label, check_looked_up};

/// Rows of a log with their labels, as read.
pub(super) struct Sample {
    pub(super) blocks: Vec<Block>,
    /// Schema of the model, without the group and the true probabilities, which are not needed.
    pub(super) schema: Arc<Schema>,
}

impl Sample {
    /// Reads all rows, and keeps `most` of them at most: each with the same probability, independent of its values.
    pub(super) fn read(
        model: &LoadedModel,
        rows: Rows,
        most: usize,
        stop: &AtomicBool,
        listener: &mut EvaluationListener<'_>,
    ) -> Result<Sample, Error> {
        check_looked_up(model, &rows)?;
        let mut schema = Schema::clone(model.schema());
        schema.group = None;
        for task in &mut schema.tasks {
            task.truth = None;
        }
        let schema = Arc::new(schema);
        let absent = |error| absent_label(error, &schema.tasks);
        let read = rows.encoded(Encoder::new(schema.clone()), true, &[]);
        let mut read = read.map_err(absent)?;
        let mut thinning = Thinning::default();
        let mut first = 0_u64;
        while let Some(next) = read.next_rows() {
            let (rows, _) = next.map_err(absent)?;
            refuse_stop(stop)?;
            let n_rows = rows.block.n_rows as u64;
            thinning.add(rows.block, first);
            thinning.limit(most);
            first += n_rows;
            (listener.advance)(n_rows);
        }
        (listener.finish)(&read)?;
        let blocks = thinning.blocks.into_iter().map(|(block, _)| block);
        Ok(Sample {
            blocks: blocks.filter(|block| block.n_rows > 0).collect(),
            schema,
        })
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.n_rows as u64).sum()
    }

    /// Returns the columns that features read, in the order of the schema. Parallel lists are together, which only
    /// make sense with each other: those of the same events, and values with their weights.
    pub(super) fn columns(&self) -> Vec<Vec<String>> {
        let parallel = self.parallel_columns();
        let mut groups: Vec<Vec<String>> = Vec::new();
        for column in self.schema.fields.iter().flat_map(Field::columns) {
            let is_of = |group: &&Vec<String>| group.contains(column);
            if !groups.iter().any(|group| group.contains(column)) {
                let group = parallel.iter().find(is_of);
                groups.push(group.cloned().unwrap_or_else(|| vec![column.clone()]));
            }
        }
        groups
    }

    /// Returns the columns that hold parallel lists; groups that have a column in common are one.
    fn parallel_columns(&self) -> Vec<Vec<String>> {
        let mut groups: Vec<Vec<String>> = Vec::new();
        let of_field = |field: &Field| {
            let beside = match &field.beside {
                Beside::Weights { column } => Some(column),
                Beside::Ages(ages) => Some(&ages.column),
                _ => None,
            };
            std::iter::once(&field.column)
                .chain(beside)
                .cloned()
                .collect::<Vec<String>>()
        };
        let fields = &self.schema.fields;
        let of_events = self.schema.sequences().into_iter().map(|sequence| {
            let own = sequence.fields.into_iter();
            own.flat_map(|f| of_field(&fields[f])).collect()
        });
        let weighted = fields
            .iter()
            .filter(|field| matches!(field.beside, Beside::Weights { .. }));
        let all: Vec<Vec<String>> = of_events.chain(weighted.map(of_field)).collect();
        for own in all {
            let mut group: Vec<String> = Vec::new();
            groups.retain_mut(|other| {
                let is_apart = !other.iter().any(|name| own.contains(name));
                if !is_apart {
                    group.append(other);
                }
                is_apart
            });
            for name in own {
                if !group.contains(&name) {
                    group.push(name);
                }
            }
            groups.push(group);
        }
        groups
    }
}

/// Blocks of kept rows with the numbers of these rows in the log. A row is kept while the first `level` bits of the hash
/// of its number are 0.
#[derive(Default)]
struct Thinning {
    blocks: Vec<(Block, Vec<u64>)>,
    level: u32,
}

impl Thinning {
    fn is_kept(level: u32, row: u64) -> bool {
        level == 0 || mix(row) >> (64 - level) == 0
    }

    fn add(&mut self, block: Block, first: u64) {
        let n_rows = block.n_rows as u64;
        self.blocks.push((block, (first..first + n_rows).collect()));
        let level = self.level;
        if let Some(last) = self.blocks.last_mut() {
            thin(last, level);
        }
    }

    /// Halves the share of kept rows until there are at most `most`.
    fn limit(&mut self, most: usize) {
        while self.level < 63
            && self
                .blocks
                .iter()
                .map(|(block, _)| block.n_rows)
                .sum::<usize>()
                > most
        {
            self.level += 1;
            let level = self.level;
            self.blocks.iter_mut().for_each(|block| thin(block, level));
        }
    }
}

fn thin((block, numbers): &mut (Block, Vec<u64>), level: u32) {
    let kept: Vec<usize> = (0..numbers.len())
        .filter(|&row| Thinning::is_kept(level, numbers[row]))
        .collect();
    if kept.len() < numbers.len() {
        *block = block.select(&kept);
        *numbers = kept.iter().map(|&row| numbers[row]).collect();
    }
}

/// All values of a column, or of some together, block after block, to be permuted. Blocks whose values have different types are permuted
/// apart: numbers stay numbers.
pub(super) struct Shuffled {
    /// The values of the blocks of each type.
    groups: Vec<Block>,
    /// For each block its group and its rows there.
    of_blocks: Vec<(usize, std::ops::Range<usize>)>,
}

/// The rows of a group that take the place of those of a block.
pub(super) struct Places {
    group: usize,
    rows: Vec<usize>,
}

impl Shuffled {
    pub(super) fn new(blocks: &[Block], names: &[String]) -> Shuffled {
        let mut groups: Vec<Block> = Vec::new();
        let mut of_blocks = Vec::new();
        for block in blocks {
            let columns = names.iter().map(|name| block.column(name));
            let Some(columns) = columns.collect::<Option<Vec<&Column>>>() else {
                continue;
            };
            let like = |group: &Block| {
                let mut pairs = group.columns.iter().zip(&columns);
                pairs.all(|(all, column)| alike(all, column))
            };
            let at = groups.iter().position(like).unwrap_or_else(|| {
                groups.push(Block {
                    n_rows: 0,
                    columns: columns.iter().map(|column| empty_like(column)).collect(),
                });
                groups.len() - 1
            });
            let group = &mut groups[at];
            let first = group.n_rows;
            for (all, column) in group.columns.iter_mut().zip(columns) {
                append(all, column, first, block.n_rows);
            }
            group.n_rows += block.n_rows;
            of_blocks.push((at, first..group.n_rows));
        }
        Shuffled { groups, of_blocks }
    }

    /// Returns a permutation of the rows: for each block, the rows whose values it takes.
    pub(super) fn permuted(&self, seed: u64, name: &str) -> Vec<Places> {
        let mut state = seeded_hash(name.as_bytes(), seed);
        let orders: Vec<Vec<usize>> = self
            .groups
            .iter()
            .map(|group| {
                let mut order: Vec<usize> = (0..group.n_rows).collect();
                for last in (1..order.len()).rev() {
                    order.swap(last, below(&mut state, last as u64 + 1) as usize);
                }
                order
            })
            .collect();
        let of_blocks = self.of_blocks.iter();
        of_blocks
            .map(|(group, rows)| Places {
                group: *group,
                rows: orders[*group][rows.clone()].to_vec(),
            })
            .collect()
    }

    /// Returns the columns with the values of these rows.
    pub(super) fn columns(&self, places: &Places) -> Vec<Column> {
        self.groups[places.group].select(&places.rows).columns
    }
}

fn alike(a: &Column, b: &Column) -> bool {
    std::mem::discriminant(&a.values) == std::mem::discriminant(&b.values)
        && a.offsets.is_some() == b.offsets.is_some()
}

fn empty_like(column: &Column) -> Column {
    Column {
        name: column.name.clone(),
        values: column.values.select(std::iter::empty()),
        offsets: column.offsets.as_ref().map(|_| vec![0]),
        nulls: Vec::new(),
    }
}

/// Appends `column`, of `n_rows` rows, to `all`, which has `before` rows.
fn append(all: &mut Column, column: &Column, before: usize, n_rows: usize) {
    let n_values = all.values.len() as u32;
    match (&mut all.values, &column.values) {
        (Values::Int(all), Values::Int(values)) => all.extend(values),
        (Values::Float(all), Values::Float(values)) => all.extend(values),
        (Values::Time(all), Values::Time(values)) => all.extend(values),
        (Values::Text(all), Values::Text(values)) => {
            (0..values.len()).for_each(|i| all.push(values.get(i)));
        }
        _ => unreachable!("a group holds values of one type"),
    }
    if let (Some(all), Some(offsets)) = (&mut all.offsets, &column.offsets) {
        all.extend(offsets[1..].iter().map(|end| n_values + end));
    }
    if !all.nulls.is_empty() || !column.nulls.is_empty() {
        all.nulls.resize(before, false);
        all.nulls.extend(&column.nulls);
        all.nulls.resize(before + n_rows, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: Values, offsets: Option<Vec<u32>>, nulls: &[bool], n_rows: usize) -> Block {
        let column = Column {
            name: "x".into(),
            values,
            offsets,
            nulls: nulls.into(),
        };
        Block {
            n_rows,
            columns: vec![column],
        }
    }

    /// Returns the values of each row of a column of whole numbers; `None` for null.
    fn rows(column: &Column, n_rows: usize) -> Vec<Option<Vec<i64>>> {
        let Values::Int(values) = &column.values else {
            panic!("whole numbers");
        };
        (0..n_rows)
            .map(|row| (!column.is_null(row)).then(|| values[column.range(row)].to_vec()))
            .collect()
    }

    #[test]
    fn a_permutation_keeps_every_value_once_with_its_nulls_and_lists() {
        let blocks = [
            block(Values::Int(vec![1, 2, 3]), Some(vec![0, 2, 2, 3]), &[], 3),
            block(
                Values::Int(vec![4, 5]),
                Some(vec![0, 0, 2]),
                &[true, false],
                2,
            ),
            block(
                Values::Int((10..60).collect()),
                Some((0..=50).collect()),
                &[],
                50,
            ),
        ];
        let shuffled = Shuffled::new(&blocks, &["x".to_owned()]);
        let all = |places: &[Places]| -> Vec<Option<Vec<i64>>> {
            let of_block = |(places, block): (&Places, &Block)| {
                rows(&shuffled.columns(places)[0], block.n_rows)
            };
            places.iter().zip(&blocks).flat_map(of_block).collect()
        };
        let before: Vec<Option<Vec<i64>>> = blocks
            .iter()
            .flat_map(|block| rows(&block.columns[0], block.n_rows))
            .collect();
        let permuted = all(&shuffled.permuted(1, "x"));
        assert_ne!(permuted, before);
        assert_ne!(permuted, all(&shuffled.permuted(2, "x")));
        let sorted = |mut rows: Vec<Option<Vec<i64>>>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(permuted), sorted(before));
    }

    #[test]
    fn values_of_different_types_are_permuted_apart() {
        let blocks = [
            block(Values::Int((0..20).collect()), None, &[], 20),
            block(Values::Float(vec![0.5; 20]), None, &[], 20),
        ];
        let shuffled = Shuffled::new(&blocks, &["x".to_owned()]);
        let places = shuffled.permuted(1, "x");
        for (places, block) in places.iter().zip(&blocks) {
            assert!(alike(&shuffled.columns(places)[0], &block.columns[0]));
        }
    }

    #[test]
    fn rows_are_kept_with_equal_probability_up_to_the_limit() {
        let mut thinning = Thinning::default();
        for first in (0..40_000).step_by(1000) {
            let values = Values::Int((first..first + 1000).collect());
            thinning.add(block(values, None, &[], 1000), first as u64);
            thinning.limit(3000);
        }
        let kept: usize = thinning.blocks.iter().map(|(block, _)| block.n_rows).sum();
        assert!((1500..=3000).contains(&kept), "{kept}");
        let halves = thinning.blocks.split_at(20);
        let count = |blocks: &[(Block, Vec<u64>)]| -> usize {
            blocks.iter().map(|(block, _)| block.n_rows).sum()
        };
        let difference = count(halves.0).abs_diff(count(halves.1));
        assert!(
            difference < 4 * (kept as f64).sqrt() as usize,
            "{difference}"
        );
        for (block, numbers) in &thinning.blocks {
            let Values::Int(values) = &block.columns[0].values else {
                panic!("whole numbers");
            };
            let numbers: Vec<i64> = numbers.iter().map(|&number| number as i64).collect();
            assert_eq!(*values, numbers);
        }
    }
}

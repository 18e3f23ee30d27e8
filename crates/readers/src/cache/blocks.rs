//! A block of rows as bytes: column by column, little-endian.
//!
//! ```text
//! u32 rows
//! for each field:  lists only: u32 offsets [rows + 1]
//!                  u32 ids [rows, or the last offset], f32 weights [as ids] where the field has them
//!                  or, for fields that enter the first layer directly: f32 numbers [rows, width]
//! for each task:   f32 labels [rows], f32 truths [rows] where the task has them,
//!                  f32 [rows] for each column of `RowTerms` that the task has
//! u64 groups [rows] where there is a group column
//! ```

use ncs_features::piecewise::PER_ROW;
use ncs_features::{Batch, FieldIds, RowTerms, Schema, Task};

/// Layout of a block of a schema's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    fields: Vec<FieldLayout>,
    /// One for each task: it has truths.
    truths: Vec<bool>,
    /// One for each task: the columns of [`RowTerms`] that it has.
    terms: Vec<[bool; RowTerms::COLUMNS]>,
    groups: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldLayout {
    lists: bool,
    weights: bool,
    /// Numbers of a row that enter the first layer directly; 0 for fields with ids.
    width: usize,
}

impl Layout {
    pub(crate) fn of(schema: &Schema) -> Layout {
        let field = |field: &ncs_features::Field| {
            let ids = &schema.tables[field.table].ids;
            let weights = ids.weighs_rows() || field.beside.has_numbers();
            FieldLayout {
                lists: weights || field.pooling.is_some(),
                weights,
                width: ids.width(),
            }
        };
        let terms = |task: &Task| task.row_rules.terms();
        Layout {
            fields: schema.fields.iter().map(field).collect(),
            truths: schema
                .tasks
                .iter()
                .map(|task| task.truth.is_some())
                .collect(),
            terms: schema.tasks.iter().map(terms).collect(),
            groups: schema.group.is_some(),
        }
    }

    pub(crate) fn n_tasks(&self) -> usize {
        self.truths.len()
    }

    /// Returns true if rows count by weight for a task.
    pub(crate) fn weighs(&self, task: usize) -> bool {
        let [weights, negative_rates, ..] = self.terms[task];
        weights || negative_rates
    }

    fn has_terms(&self) -> bool {
        self.terms.iter().any(|terms| terms.contains(&true))
    }

    /// Returns a batch without rows.
    pub(crate) fn empty_batch(&self) -> Batch {
        let field = |field: &FieldLayout| FieldIds {
            offsets: if field.lists { vec![0] } else { Vec::new() },
            width: field.width,
            ..FieldIds::default()
        };
        Batch {
            n_rows: 0,
            fields: self.fields.iter().map(field).collect(),
            labels: vec![Vec::new(); self.n_tasks()],
            truths: vec![Vec::new(); self.n_tasks()],
            terms: if self.has_terms() {
                vec![RowTerms::default(); self.n_tasks()]
            } else {
                Vec::new()
            },
            groups: Vec::new(),
        }
    }

    /// `u32 fields, u32 tasks, u8 groups, u8 a field (1 lists, 2 weights, 4 numbers, 8 a vector), u8 a task (1 truths, 2
    /// and on: the columns of `RowTerms`), u32 a vector (its length)`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.fields.len() as u32).to_le_bytes());
        bytes.extend((self.truths.len() as u32).to_le_bytes());
        bytes.push(u8::from(self.groups));
        let flags = |field: &FieldLayout| {
            let direct = match field.width {
                0 => 0,
                PER_ROW => 4,
                _ => 8,
            };
            u8::from(field.lists) | u8::from(field.weights) << 1 | direct
        };
        bytes.extend(self.fields.iter().map(flags));
        let tasks = self.truths.iter().zip(&self.terms);
        bytes.extend(tasks.map(|(&truths, terms)| {
            let columns = terms.iter().enumerate();
            columns.fold(u8::from(truths), |flags, (column, &has)| {
                flags | u8::from(has) << (1 + column)
            })
        }));
        let vectors = self.fields.iter().map(|field| field.width);
        let vectors = vectors.filter(|width| ![0, PER_ROW].contains(width));
        bytes.extend(vectors.flat_map(|width| (width as u32).to_le_bytes()));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Layout> {
        let mut bytes = Bytes(bytes);
        let n_fields = bytes.u32()? as usize;
        let n_tasks = bytes.u32()? as usize;
        let groups = bytes.take(1)?[0] == 1;
        let field = |&flags: &u8| FieldLayout {
            lists: flags & 1 != 0,
            weights: flags & 2 != 0,
            width: if flags & 4 != 0 { PER_ROW } else { 0 },
        };
        let flags = bytes.take(n_fields)?;
        let mut fields: Vec<FieldLayout> = flags.iter().map(field).collect();
        let tasks = bytes.take(n_tasks)?;
        let terms = |&flags: &u8| std::array::from_fn(|column| flags >> (1 + column) & 1 == 1);
        for (field, _) in fields
            .iter_mut()
            .zip(flags)
            .filter(|(_, flags)| **flags & 8 != 0)
        {
            field.width = bytes.u32()? as usize;
        }
        bytes.0.is_empty().then_some(Layout {
            fields,
            truths: tasks.iter().map(|flags| flags & 1 == 1).collect(),
            terms: tasks.iter().map(terms).collect(),
            groups,
        })
    }

    /// Appends a batch of this layout.
    pub(crate) fn write(&self, batch: &Batch, out: &mut Vec<u8>) {
        out.extend((batch.n_rows as u32).to_le_bytes());
        for field in &batch.fields {
            out.extend(field.offsets.iter().flat_map(|x| x.to_le_bytes()));
            out.extend(field.ids.iter().flat_map(|x| x.to_le_bytes()));
            let floats = field.weights.iter().chain(&field.numbers);
            out.extend(floats.flat_map(|x| x.to_le_bytes()));
        }
        for (task, (labels, truths)) in batch.labels.iter().zip(&batch.truths).enumerate() {
            out.extend(labels.iter().chain(truths).flat_map(|x| x.to_le_bytes()));
            let terms = batch.terms(task).columns().into_iter().flatten();
            out.extend(terms.flat_map(|x| x.to_le_bytes()));
        }
        out.extend(batch.groups.iter().flat_map(|x| x.to_le_bytes()));
    }

    /// Reads the batch that [`Layout::write`] wrote; `None` if the bytes are not a valid batch.
    pub(crate) fn read(&self, bytes: &[u8]) -> Option<Batch> {
        let mut bytes = Bytes(bytes);
        let n_rows = bytes.u32()? as usize;
        let mut batch = self.empty_batch();
        batch.n_rows = n_rows;
        for (field, layout) in batch.fields.iter_mut().zip(&self.fields) {
            *field = layout.read(n_rows, &mut bytes)?;
        }
        for (task, &has_truths) in self.truths.iter().enumerate() {
            batch.labels[task] = bytes.f32s(n_rows)?;
            if has_truths {
                batch.truths[task] = bytes.f32s(n_rows)?;
            }
            if let Some(terms) = batch.terms.get_mut(task) {
                let columns = terms.columns_mut().into_iter().zip(self.terms[task]);
                for (column, _) in columns.filter(|(_, has)| *has) {
                    *column = bytes.f32s(n_rows)?;
                }
            }
        }
        if self.groups {
            batch.groups = bytes.u64s(n_rows)?;
        }
        bytes.0.is_empty().then_some(batch)
    }
}

impl FieldLayout {
    fn read(&self, n_rows: usize, bytes: &mut Bytes) -> Option<FieldIds> {
        if self.width > 0 {
            return Some(FieldIds {
                numbers: bytes.f32s(n_rows.checked_mul(self.width)?)?,
                ..FieldIds::of_numbers(self.width)
            });
        }
        let offsets = if self.lists {
            bytes.u32s(n_rows + 1)?
        } else {
            Vec::new()
        };
        if !offsets.is_sorted() {
            return None;
        }
        let n_ids = offsets.last().map_or(n_rows, |&end| end as usize);
        Some(FieldIds {
            offsets,
            ids: bytes.u32s(n_ids)?,
            weights: if self.weights {
                bytes.f32s(n_ids)?
            } else {
                Vec::new()
            },
            ..FieldIds::default()
        })
    }
}

/// Little-endian numbers taken off the front; `None` where too few bytes are left.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    fn arrays<const N: usize>(&mut self, n: usize) -> Option<&'a [[u8; N]]> {
        Some(self.take(n.checked_mul(N)?)?.as_chunks().0)
    }

    fn u32s(&mut self, n: usize) -> Option<Vec<u32>> {
        Some(
            self.arrays(n)?
                .iter()
                .map(|&bytes| u32::from_le_bytes(bytes))
                .collect(),
        )
    }

    fn f32s(&mut self, n: usize) -> Option<Vec<f32>> {
        Some(
            self.arrays(n)?
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
        )
    }

    fn u64s(&mut self, n: usize) -> Option<Vec<u64>> {
        Some(
            self.arrays(n)?
                .iter()
                .map(|&bytes| u64::from_le_bytes(bytes))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let field = |lists, weights, width| FieldLayout {
            lists,
            weights,
            width,
        };
        Layout {
            fields: vec![
                field(false, false, 0),
                field(true, false, 0),
                field(true, true, 0),
                field(false, false, PER_ROW),
                field(false, false, 5),
            ],
            truths: vec![true, false],
            terms: vec![[false; RowTerms::COLUMNS], [true; RowTerms::COLUMNS]],
            groups: true,
        }
    }

    fn batch() -> Batch {
        let field = |ids: &[u32], offsets: &[u32], weights: &[f32]| FieldIds {
            ids: ids.into(),
            offsets: offsets.into(),
            weights: weights.into(),
            ..FieldIds::default()
        };
        let numbers = FieldIds {
            numbers: vec![0.5, 1.0, -1.0, 3.0, 0.0, 2.0],
            ..FieldIds::of_numbers(PER_ROW)
        };
        let vectors = FieldIds {
            numbers: (0..10).map(|x| x as f32).collect(),
            ..FieldIds::of_numbers(5)
        };
        let mut terms = RowTerms::default();
        for (column, numbers) in terms.columns_mut().into_iter().zip(1u8..) {
            *column = vec![f32::from(numbers), 0.5];
        }
        Batch {
            n_rows: 2,
            fields: vec![
                field(&[7, 8], &[], &[]),
                field(&[9], &[0, 0, 1], &[]),
                field(&[1, 2, 0], &[0, 2, 3], &[0.5, 1.0, 1.0]),
                numbers,
                vectors,
            ],
            labels: vec![vec![0.0, 1.0], vec![0.25, 0.5]],
            truths: vec![vec![0.1, 0.2], vec![]],
            terms: vec![RowTerms::default(), terms],
            groups: vec![u64::MAX, 3],
        }
    }

    #[test]
    fn a_block_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        layout().write(&batch(), &mut bytes);
        assert_eq!(layout().read(&bytes), Some(batch()));
        assert_eq!(Layout::from_bytes(&layout().to_bytes()), Some(layout()));
    }

    #[test]
    fn a_block_cut_short_or_too_long_is_refused() {
        let mut bytes = Vec::new();
        layout().write(&batch(), &mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(layout().read(&bytes[..end]), None, "{end} bytes");
        }
        bytes.push(0);
        assert_eq!(layout().read(&bytes), None);
    }
}

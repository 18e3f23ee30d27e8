//! Usable rows of a block, and the errors of the other rows.

use super::late;
use crate::plan::Split;
use crate::rows::{RowsBlock, row_of};
use crate::source::{BrokenRow, ReadError, row_in_file};
use crate::split::{Part, SplitError};
use ncs_features::{Batch, Block, Encoder};
use std::borrow::Cow;
use std::ops::Range;

/// The usable rows of a block.
pub(super) struct Sifted<'a> {
    pub(super) block: Cow<'a, Block>,
    pub(super) batch: Batch,
    /// One part per row.
    pub(super) parts: Vec<Part>,
    /// All rows that were left out, by the reader before or here, in file order.
    pub(super) broken: Vec<BrokenRow>,
    /// The rows before encoding.
    pub(super) rows: &'a RowsBlock,
}

impl Sifted<'_> {
    /// Returns the file and row, counted from 1, of row `row` of the block, counted from 0.
    pub(super) fn place(&self, row: usize) -> String {
        let in_file = row_in_file(self.rows.first_row, &self.broken, row as u64 + 1);
        format!("{}: row {in_file}", self.rows.file.display())
    }
}

/// Encodes rows and finds their parts.
pub(super) struct Sieve<'a> {
    pub(super) encoder: &'a Encoder,
    /// Division of the rows; `None`: all are of `part`.
    pub(super) split: Option<&'a Split>,
    pub(super) part: Part,
    /// Number of the block's first row, over all files that are divided.
    pub(super) first_row: u64,
}

impl Sieve<'_> {
    /// Encodes blocks, mostly as a whole; a block that fails is searched for the rows that cause the failure.
    ///
    /// # Errors
    /// The error is not in a row.
    pub(super) fn sift<'b>(&self, rows: &'b RowsBlock) -> Result<Sifted<'b>, ReadError> {
        let block = &rows.block;
        let error = match self.encode(block) {
            Ok((batch, parts)) => {
                return Ok(Sifted {
                    block: Cow::Borrowed(block),
                    batch,
                    parts,
                    broken: rows.broken.clone(),
                    rows,
                });
            }
            Err(error) => error,
        };
        self.refuse_unless_row(rows, error)?;
        let mut unusable = Vec::new();
        self.search(block, 0..block.n_rows, &mut unusable);
        self.without(rows, unusable)
    }

    fn encode(&self, block: &Block) -> Result<(Batch, Vec<Part>), SplitError> {
        let (mut batch, parts) = (self.encoder.encode(block)?, self.parts(block)?);
        late::know(self.encoder.schema(), &mut batch, &parts);
        Ok((batch, parts))
    }

    fn parts(&self, block: &Block) -> Result<Vec<Part>, SplitError> {
        match self.split {
            Some(split) => split.parts(block, self.first_row),
            None => Ok(vec![self.part; block.n_rows]),
        }
    }

    fn part_of(&self, rows: &RowsBlock, row: usize) -> Result<Part, ReadError> {
        let alone = Sieve {
            first_row: self.first_row + row as u64,
            ..*self
        };
        let parts = alone.parts(&rows.block.select(&[row]));
        let parts = parts.map_err(|error| rows.split_error(error.after(row as u64)))?;
        Ok(parts[0])
    }

    fn refuse_unless_row(&self, rows: &RowsBlock, error: SplitError) -> Result<(), ReadError> {
        match error {
            SplitError::Column(error) if row_of(&error).is_none() => Err(rows.error(error)),
            _ => Ok(()),
        }
    }

    /// Appends the rows in `range` that cannot be encoded, halving it.
    fn search(&self, block: &Block, range: Range<usize>, unusable: &mut Vec<(usize, SplitError)>) {
        let some = block.select(&range.clone().collect::<Vec<_>>());
        let Err(error) = self.encode(&some) else {
            return;
        };
        if range.len() == 1 {
            return unusable.push((range.start, error));
        }
        let middle = range.start + range.len() / 2;
        self.search(block, range.start..middle, unusable);
        self.search(block, middle..range.end, unusable);
    }

    fn without<'b>(
        &self,
        rows: &'b RowsBlock,
        unusable: Vec<(usize, SplitError)>,
    ) -> Result<Sifted<'b>, ReadError> {
        let mut is_kept = vec![true; rows.block.n_rows];
        unusable.iter().for_each(|(row, _)| is_kept[*row] = false);
        let kept: Vec<usize> = (0..rows.block.n_rows).filter(|&row| is_kept[row]).collect();
        let block = rows.block.select(&kept);
        let mut batch = self
            .encoder
            .encode(&block)
            .map_err(|error| rows.error(error))?;
        // A row keeps its number, as that may say its part: one by one where the whole block fails.
        let parts: Vec<Part> = match self.parts(&rows.block) {
            Ok(parts) => kept.iter().map(|&row| parts[row]).collect(),
            Err(_) => kept
                .iter()
                .map(|&row| self.part_of(rows, row))
                .collect::<Result<_, _>>()?,
        };
        late::know(self.encoder.schema(), &mut batch, &parts);
        let mut broken = rows.broken.clone();
        broken.extend(unusable.into_iter().map(|(row, error)| {
            let row = rows.in_file(row as u64 + 1);
            // The error is of a block of this row alone.
            let what = error.after(row - 1).to_string();
            BrokenRow { row, what }
        }));
        broken.sort_by_key(|broken| broken.row);
        Ok(Sifted {
            block: Cow::Owned(block),
            batch,
            parts,
            broken,
            rows,
        })
    }
}

/// The rows of a block that belong to a part.
pub(super) fn rows_of(parts: &[Part], part: Part) -> Vec<usize> {
    let rows = parts
        .iter()
        .enumerate()
        .filter(|(_, found)| **found == part);
    rows.map(|(row, _)| row).collect()
}

//! Rows that can be used, and a count of those that cannot.

use std::path::PathBuf;

use ncs_config::RunPlan;
use ncs_features::labels::{labels, terms, truths};
use ncs_features::{Block, Encoder, Fit, FitError, Schema};
use ncs_readers::split::SplitError;
use ncs_readers::{BrokenRow, ReadError, RowsBlock, Split};

/// Leaves out the rows that cannot be fitted, encoded or split. Returns the schema of the remaining rows, or
/// the reason why they do not give one.
pub(super) fn filter(
    plan: &RunPlan,
    split: Option<&Split>,
    rows: &mut Usable,
) -> Result<Result<Schema, FitError>, ReadError> {
    let schema = &plan.schema;
    rows.filter(|block| {
        Fit::new(schema.clone()).observe(block)?;
        terms(&schema.tasks, block, &mut labels(&schema.tasks, block)?)?;
        truths(&schema.tasks, block)?;
        split.map_or(Ok(()), |split| split.parts(block, 0).map(drop))
    })?;
    let fitted = fit(plan, rows)?;
    if let Ok(schema) = &fitted {
        let encoder = Encoder::new(schema.clone().into());
        rows.filter(|block| Ok(encoder.encode(block).map(drop)?))?;
    }
    rows.check_share(plan.data.reading.max_broken_share)?;
    Ok(fitted)
}

/// Rows without the unusable ones, which are counted, or rejected unless broken rows are allowed.
pub(super) struct Usable {
    may_be_broken: bool,
    pub(super) blocks: Vec<RowsBlock>,
    pub(super) n_broken: u64,
    first_broken: Option<(PathBuf, BrokenRow)>,
}

/// Number of excess broken rows that are tolerated until the end of reading, here and in training.
const GRACE_ROWS: f64 = 100.0;

impl Usable {
    pub(super) fn new(may_be_broken: bool, blocks: Vec<RowsBlock>) -> Usable {
        let of_block = |rows: &RowsBlock| {
            rows.broken
                .first()
                .cloned()
                .map(|row| (rows.file.clone(), row))
        };
        Usable {
            may_be_broken,
            n_broken: blocks.iter().map(|rows| rows.broken.len() as u64).sum(),
            first_broken: blocks.iter().find_map(of_block),
            blocks,
        }
    }

    pub(super) fn warning(&self) -> Vec<String> {
        let first = self.first_broken.iter();
        let n = self.n_broken;
        first
            .map(|(file, first)| {
                let (file, what) = (file.display(), &first.what);
                format!("{n} rows cannot be used; the first: {file}: {what}")
            })
            .collect()
    }

    /// Returns a warning about readable rows that look wrong: the first of them and their number.
    pub(super) fn doubts(&self) -> Option<String> {
        let notes = self.blocks.iter();
        let mut notes = notes.flat_map(|rows| rows.notes.iter().map(move |note| (rows, note)));
        let (rows, first) = notes.next()?;
        let file = rows.file.display();
        Some(match notes.count() {
            0 => format!("{file}: {first}"),
            more => format!("{file}: {first}; {more} more such rows follow"),
        })
    }

    /// Rejects more broken rows than reading tolerates before its end.
    fn check_share(&self, max_share: f64) -> Result<(), ReadError> {
        let rows = self.n_rows() + self.n_broken;
        match (
            self.n_broken as f64 > max_share * rows as f64 + GRACE_ROWS,
            &self.first_broken,
        ) {
            (true, Some(first)) if max_share > 0.0 => Err(ReadError::TooManyBroken {
                broken: self.n_broken,
                rows,
                share: max_share,
                path: first.0.clone(),
                row: first.1.row,
                what: first.1.what.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.blocks
            .iter()
            .map(|rows| rows.block.n_rows as u64)
            .sum()
    }

    /// Leaves out the rows for which `check` fails, one by one.
    fn filter(
        &mut self,
        check: impl Fn(&Block) -> Result<(), SplitError>,
    ) -> Result<(), ReadError> {
        for rows in &mut self.blocks {
            while let Err(error) = check(&rows.block) {
                let row = row_of(&error).filter(|_| self.may_be_broken);
                let located = rows.split_error(error);
                let Some(row) = row else {
                    return Err(located);
                };
                self.n_broken += 1;
                let broken = leave_out(rows, row, &located);
                self.first_broken.get_or_insert((rows.file.clone(), broken));
            }
        }
        Ok(())
    }
}

/// Returns the row of the block, from 1, that an error refers to, if any.
fn row_of(error: &SplitError) -> Option<u64> {
    match error {
        SplitError::NoTime { row, .. } => Some(*row),
        SplitError::Unresolved { .. } => None,
        SplitError::Column(error) => {
            let mut error_row = None;
            let _ = error.clone().at(|row| *error_row.insert(row));
            error_row
        }
    }
}

/// Removes row `row`, from 1, from the block and records it as broken, so that the row numbers of the others
/// stay correct.
fn leave_out(rows: &mut RowsBlock, row: u64, error: &ReadError) -> BrokenRow {
    let what = match error {
        ReadError::Row { what, .. } => what.clone(),
        other => other.to_string(),
    };
    let broken = BrokenRow {
        row: rows.in_file(row),
        what,
    };
    let at = rows.broken.partition_point(|other| other.row < broken.row);
    rows.broken.insert(at, broken.clone());
    let kept = (0..rows.block.n_rows).filter(|other| *other as u64 + 1 != row);
    rows.block = rows.block.select(&kept.collect::<Vec<_>>());
    broken
}

/// Fits a schema to all of these rows, whatever their part.
fn fit(plan: &RunPlan, rows: &Usable) -> Result<Result<Schema, FitError>, ReadError> {
    let mut fit = Fit::new(plan.schema.clone());
    for rows in &rows.blocks {
        fit.observe(&rows.block)
            .map_err(|error| rows.error(error))?;
    }
    Ok(fit.finish())
}

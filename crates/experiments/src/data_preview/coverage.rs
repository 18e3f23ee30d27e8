//! Column coverage: the first rows of each part compared with the first training rows.

use std::sync::Arc;

use ncs_eval::PartColumns;
use ncs_features::coverage::Shares;
use ncs_features::{Block, ColumnCoverage, Coverage, Encoder, Fit, Schema, SchemaPlan, SeenIds};
use ncs_readers::RowsBlock;
use ncs_readers::split::Part;

/// Returns the column coverage of each part that has rows. Validation rows are compared with the coverage of
/// the second half of the training rows by the first, since a few thousand rows never contain all ids; test
/// rows with validation rows.
pub(super) fn of_parts(plan: &SchemaPlan, parts: &[(Part, Vec<RowsBlock>)]) -> Vec<PartColumns> {
    let Some((_, train)) = parts.first() else {
        return Vec::new();
    };
    let Some(fitted) = FittedRows::of(plan, blocks(train)) else {
        // A failure to fit these rows is reported elsewhere.
        return Vec::new();
    };
    let mut reference = ("later training".to_owned(), by_halves(plan, train));
    let mut coverage = Vec::new();
    for (part, rows) in parts {
        if rows.iter().all(|rows| rows.block.n_rows == 0) {
            continue;
        }
        let columns = fitted.coverage(rows, *part == Part::Train);
        let own: Vec<Shares> = columns.iter().map(ColumnCoverage::shares).collect();
        let (compared_with, shares) = match part {
            Part::Train => ("training".to_owned(), own),
            Part::Valid => std::mem::replace(&mut reference, ("validation".to_owned(), own)),
            Part::Test => reference.clone(),
        };
        coverage.push(PartColumns {
            part: part.name().to_owned(),
            columns,
            reference: shares,
            compared_with,
        });
    }
    coverage
}

/// Returns the coverage of the second half of the rows by the first; empty if the first cannot be fitted.
fn by_halves(plan: &SchemaPlan, rows: &[RowsBlock]) -> Vec<Shares> {
    let n_rows: usize = rows.iter().map(|rows| rows.block.n_rows).sum();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut done = 0;
    for rows in rows {
        let n = rows.block.n_rows;
        let middle = (n_rows / 2).saturating_sub(done).min(n);
        first.push(rows.block.select(&(0..middle).collect::<Vec<_>>()));
        let mut rest = rows.clone();
        rest.block = rows.block.select(&(middle..n).collect::<Vec<_>>());
        second.push(rest);
        done += n;
    }
    let fitted = FittedRows::of(plan, first.iter());
    let columns = fitted.map_or(Vec::new(), |fitted| fitted.coverage(&second, false));
    columns.iter().map(ColumnCoverage::shares).collect()
}

fn blocks(rows: &[RowsBlock]) -> impl Iterator<Item = &Block> + Clone {
    rows.iter().map(|rows| &rows.block)
}

/// Schema and ids fitted to some rows.
struct FittedRows {
    schema: Arc<Schema>,
    encoder: Encoder,
    seen: SeenIds,
}

impl FittedRows {
    fn of<'a>(
        plan: &SchemaPlan,
        blocks: impl Iterator<Item = &'a Block> + Clone,
    ) -> Option<FittedRows> {
        let mut fit = Fit::new(plan.clone());
        for block in blocks.clone() {
            fit.observe(block).ok()?;
        }
        let schema = Arc::new(fit.finish().ok()?);
        let encoder = Encoder::new(schema.clone());
        let mut seen = SeenIds::new(&schema);
        for block in blocks {
            let batch = encoder.encode_features(block).ok()?;
            seen.observe(&batch, &(0..batch.n_rows).collect::<Vec<_>>());
        }
        Some(FittedRows {
            schema,
            encoder,
            seen,
        })
    }

    fn coverage(&self, rows: &[RowsBlock], of_themselves: bool) -> Vec<ColumnCoverage> {
        let is_unseen = |field: usize, id: u32| !of_themselves && self.seen.is_unseen(field, id);
        let mut coverage = Coverage::new(&self.schema);
        for rows in rows {
            // These rows have been encoded before, with a schema of all rows of the file.
            let Ok(batch) = self.encoder.encode(&rows.block) else {
                continue;
            };
            let all: Vec<usize> = (0..batch.n_rows).collect();
            let place = |row| {
                let row = rows.in_file(row as u64 + 1);
                format!("{}: row {row}", rows.file.display())
            };
            coverage.observe_rows(&rows.block, &batch, &all, place, is_unseen);
        }
        coverage.finish(is_unseen)
    }
}

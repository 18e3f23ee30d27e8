//! Candidates as whole rows, for networks without a ranker.

use super::Version;
use crate::api_error::ApiError;
use crate::compute::WorkerScratch;
use ncs_features::{Batch, FieldIds};
use std::ops::Range;

/// Maximum number of context values repeated at a time.
const MAX_REPEATED_VALUES: usize = 1 << 20;

impl Version {
    /// Scores candidates as whole rows, in chunks that limit the memory of
    /// the context, which is repeated for each row.
    pub(super) fn score_rows(
        &self,
        context_fields: &[usize],
        context: &Batch,
        candidates: &Batch,
        scratch: &mut WorkerScratch,
    ) -> Result<Vec<Vec<f32>>, ApiError> {
        let lengths = context_fields.iter().map(|&f| context.fields[f].ids.len());
        let n_rows = MAX_REPEATED_VALUES / lengths.sum::<usize>().max(1);
        let mut scores = vec![Vec::new(); self.schema().tasks.len()];
        let mut from = 0;
        while from < candidates.n_rows {
            scratch.check_time()?;
            let part = from..candidates.n_rows.min(from + n_rows.max(1));
            from = part.end;
            let mut rows = rows_of(candidates, context_fields, part);
            for &f in context_fields {
                rows.fields[f] = repeated(&context.fields[f], rows.n_rows);
            }
            let part_scores = self
                .scorer
                .score_uncalibrated(&rows, &mut scratch.workspace);
            for (all, part) in scores.iter_mut().zip(part_scores) {
                all.extend_from_slice(&part);
            }
        }
        Ok(scores)
    }
}

/// Returns a range of the candidates' rows; the fields of the context are left empty.
fn rows_of(candidates: &Batch, context_fields: &[usize], part: Range<usize>) -> Batch {
    if part == (0..candidates.n_rows) {
        return candidates.clone();
    }
    let field_rows = |(f, ids): (usize, &FieldIds)| {
        let mut rows = FieldIds::default();
        if context_fields.binary_search(&f).is_err() {
            part.clone().for_each(|row| rows.push_row(ids, row));
        }
        rows
    };
    Batch {
        n_rows: part.len(),
        fields: candidates
            .fields
            .iter()
            .enumerate()
            .map(field_rows)
            .collect(),
        labels: candidates.labels.clone(),
        truths: candidates.truths.clone(),
        terms: candidates.terms.clone(),
        groups: Vec::new(),
    }
}

/// Returns `n` copies of the ids of one row.
fn repeated(one: &FieldIds, n: usize) -> FieldIds {
    let mut rows = FieldIds::default();
    (0..n).for_each(|_| rows.push_row(one, 0));
    rows
}

//! Verdicts counted over data sets.

use super::{DataResult, MethodDifference, SummaryRow, Verdict};

/// Counts verdicts: one row for each method, reference and figure, in order of first occurrence.
pub(super) fn count(data: &[DataResult]) -> Vec<SummaryRow> {
    let mut rows: Vec<SummaryRow> = Vec::new();
    for difference in data.iter().flat_map(|data| &data.differences) {
        let known = rows.iter().position(|row| row.is_of(difference));
        let at = known.unwrap_or_else(|| {
            rows.push(SummaryRow::start(difference));
            rows.len() - 1
        });
        rows[at].add(difference.verdict);
    }
    rows
}

impl SummaryRow {
    fn start(difference: &MethodDifference) -> SummaryRow {
        SummaryRow {
            method: difference.method.clone(),
            reference: difference.reference.clone(),
            key: difference.key.clone(),
            ..SummaryRow::default()
        }
    }

    fn is_of(&self, difference: &MethodDifference) -> bool {
        self.method == difference.method
            && self.reference == difference.reference
            && self.key == difference.key
    }

    fn add(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Better => &mut self.better,
            Verdict::Worse => &mut self.worse,
            Verdict::NotSignificant => &mut self.not_significant,
            Verdict::TooFewSeeds => &mut self.no_verdict,
        };
        *count += 1;
    }
}

//! A scorer records and repeats a self-test.

use super::Scorer;
use crate::self_test::SelfTest;
use crate::workspace::Workspace;
use ncs_features::{Batch, Block, Column, Encoder};

/// Maximum difference of a score on another processor or SIMD level.
const TOLERANCE: f32 = 1e-5;

impl SelfTest {
    /// Records the scores of `rows`, of which only the columns that the scorer reads are kept. Returns `None` if a
    /// column cannot be read, or holds a text that JSON cannot represent.
    pub fn record(scorer: &Scorer, rows: &Block) -> Option<SelfTest> {
        let is_read = |column: &&Column| {
            let mut fields = scorer.schema().fields.iter();
            fields.any(|field| field.columns().any(|read| *read == column.name))
        };
        let rows = Block {
            n_rows: rows.n_rows,
            columns: rows.columns.iter().filter(is_read).map(plain).collect(),
        };
        let test = SelfTest {
            scores: score(scorer, &rows).ok()?,
            rows,
        };
        SelfTest::from_json(&test.to_json()).filter(|read| *read == test)
    }

    /// Compares the recorded scores with those of `scorer`.
    ///
    /// # Errors
    /// A row cannot be read, or a score differs.
    pub fn check(&self, scorer: &Scorer) -> Result<(), String> {
        let scores = score(scorer, &self.rows)?;
        let tasks = scorer.spec().tasks.iter();
        for (t, ((task, expected), scores)) in tasks.zip(&self.scores).zip(&scores).enumerate() {
            let link = scorer.spec().link(t);
            for (row, (expected, score)) in expected.iter().zip(scores).enumerate() {
                // NaN differs from any score.
                let is_same =
                    (expected - score).abs() <= TOLERANCE * link.unit(f64::from(*expected)) as f32;
                if !is_same {
                    return Err(format!(
                        "row {} of the self-test scores {score} for task \"{task}\" and scored {expected} \
                         when the model was saved",
                        row + 1
                    ));
                }
            }
        }
        Ok(())
    }

    /// Encodes the rows.
    ///
    /// # Errors
    /// A row cannot be read.
    pub(crate) fn batch(&self, scorer: &Scorer) -> Result<Batch, String> {
        encode(scorer, &self.rows)
    }
}

/// Returns the column as it is read from a file: without null flags if no row is null.
fn plain(column: &Column) -> Column {
    let mut column = column.clone();
    if !column.nulls.contains(&true) {
        column.nulls.clear();
    }
    column
}

fn encode(scorer: &Scorer, rows: &Block) -> Result<Batch, String> {
    let encoder = Encoder::new(scorer.schema().clone());
    let batch = encoder.encode_features(rows);
    batch.map_err(|error| format!("the self-test: {error}"))
}

fn score(scorer: &Scorer, rows: &Block) -> Result<Vec<Vec<f32>>, String> {
    Ok(scorer.score(&encode(scorer, rows)?, &mut Workspace::new(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::Values;

    #[test]
    fn null_flags_are_omitted_if_no_row_is_null() {
        let column = |nulls: &[bool]| Column {
            name: "x".into(),
            values: Values::Int(vec![1, 2]),
            offsets: None,
            nulls: nulls.into(),
        };
        assert_eq!(plain(&column(&[false, false])), column(&[]));
        assert_eq!(plain(&column(&[false, true])), column(&[false, true]));
    }
}

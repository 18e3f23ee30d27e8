//! Scoring of whole rows in half precision.

use ncs_features::Batch;
use ncs_model::{Precision, RankBuffers, Ranker};

use super::LoadedModel;
use crate::error::Error;

/// Scores whole rows in half precision.
pub(super) struct HalfScorer(Ranker);

impl HalfScorer {
    /// Returns `None` for single precision.
    pub(super) fn new(
        model: &LoadedModel,
        precision: Precision,
    ) -> Result<Option<HalfScorer>, Error> {
        if precision == Precision::Single {
            return Ok(None);
        }
        let half = precision.check(&model.scorer, model.artifact.self_test.as_ref());
        half.map_err(|error| format!("{}: --half: {error}", model.folder.display()))?;
        Ok(precision.ranker(&model.scorer, &[]).map(HalfScorer))
    }

    pub(super) fn score(&self, batch: &Batch, n_threads: usize) -> Vec<Vec<f32>> {
        let rows: Vec<usize> = (0..batch.n_rows).collect();
        let n_tasks = self.0.scorer().spec().tasks.len();
        let part = |rows: &[usize]| {
            let rows = batch.select(rows);
            let mut scores = vec![Vec::new(); n_tasks];
            let context = rows.select(&[0]);
            self.0
                .score(&context, &rows, &mut RankBuffers::default(), &mut scores);
            scores
        };
        let n_rows = batch.n_rows.div_ceil(n_threads.max(1)).max(1);
        let mut all = vec![Vec::with_capacity(batch.n_rows); n_tasks];
        std::thread::scope(|scope| {
            let parts = rows.chunks(n_rows);
            let parts: Vec<_> = parts.map(|rows| scope.spawn(|| part(rows))).collect();
            for scores in parts {
                let scores = scores.join().expect("a ranker does not panic");
                all.iter_mut()
                    .zip(scores)
                    .for_each(|(all, scores)| all.extend(scores));
            }
        });
        all
    }
}

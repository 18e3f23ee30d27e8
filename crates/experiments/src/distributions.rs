//! Distributions of columns and scores that a model carries, from the rows of its training.

use ncs_features::distribution::{ColumnSample, Distribution, Distributions};
use ncs_features::{Batch, Schema};
use ncs_model::{Scorer, Workspace};
use ncs_readers::batches::BatchPlan;
use ncs_readers::{Cache, CacheError, Prepared};

/// Most rows that are counted; of more, an even sample.
const MOST_ROWS: u64 = 200_000;

/// Returns the distributions of the columns of the training rows, and of a model's scores of the validation rows (of
/// the training rows where there are none).
///
/// # Errors
/// The rows cannot be read.
pub(crate) fn of_training(
    data: &Prepared,
    scorer: &Scorer,
    pass: &mut Workspace,
) -> Result<Distributions, CacheError> {
    let schema = scorer.schema();
    let mut columns = ColumnSample::new(schema);
    each_sampled(&data.train, |batch, rows| {
        columns.add(schema, batch, rows.iter().copied());
    })?;
    let mut scores: Vec<Vec<f32>> = Vec::new();
    let mut score_rows = 0;
    each_sampled(data.valid.as_ref().unwrap_or(&data.train), |batch, rows| {
        let found = scored(schema, scorer, batch, rows, pass);
        scores.resize_with(found.len(), Vec::new);
        let pairs = scores.iter_mut().zip(found);
        pairs.for_each(|(all, more)| all.extend(more));
        score_rows += rows.len() as u64;
    })?;
    let (rows, columns) = columns.finish();
    Ok(Distributions {
        rows,
        columns,
        score_rows,
        scores: scores.into_iter().map(Distribution::of_numbers).collect(),
    })
}

/// Scores of rows of a batch: those of the tasks and of their product.
fn scored(
    schema: &Schema,
    scorer: &Scorer,
    batch: &Batch,
    rows: &[usize],
    pass: &mut Workspace,
) -> Vec<Vec<f32>> {
    let mut scores = match rows.len() == batch.n_rows {
        true => scorer.score(batch, pass),
        false => scorer.score(&batch.select(rows), pass),
    };
    let products = schema.products();
    let of_products: Vec<_> = products.iter().map(|p| p.of(&scores)).collect();
    scores.extend(of_products);
    scores
}

/// Calls `each` with the batches of a part and the rows of them that are counted.
fn each_sampled(part: &Cache, mut each: impl FnMut(&Batch, &[usize])) -> Result<(), CacheError> {
    let stride = part.n_rows().div_ceil(MOST_ROWS).max(1);
    let mut n_rows = 0;
    for batch in part.batches(BatchPlan::default()) {
        let batch = batch?;
        let is_counted = |row: &usize| (n_rows + *row as u64).is_multiple_of(stride);
        let rows: Vec<usize> = (0..batch.n_rows).filter(is_counted).collect();
        n_rows += batch.n_rows as u64;
        if !rows.is_empty() {
            each(&batch, &rows);
        }
    }
    Ok(())
}

//! Scoring of one context with its candidates, as a server does it.

use std::sync::atomic::{AtomicBool, Ordering};

use ncs_experiments::scoring::Stopped;
use ncs_features::{Block, Field, Schema};
use ncs_readers::{Frame, Rows};
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::version::Version;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::Failure;

/// Selection of candidates.
pub(crate) struct Best {
    /// Number of candidates; `None` returns all, in their input order.
    pub(crate) top_k: Option<usize>,
    /// Output to sort by; `None` selects the last, which is the product of the tasks if there is one.
    pub(crate) by: Option<String>,
}

/// Returns the frame of `data`, or a `TypeError` if it is not a frame.
pub(crate) fn wanted(data: &Bound<'_, PyAny>, name: &str) -> PyResult<Frame> {
    let found = crate::frames::frame(data, name)?;
    found.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "{name}: expected a data frame or a dict of columns"
        ))
    })
}

/// Returns the columns that features read, without duplicates.
pub(crate) fn columns(schema: &Schema) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for column in schema.fields.iter().flat_map(Field::columns) {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Reads the rows of a frame, only the columns that features read.
fn blocks(frame: Frame, schema: &Schema) -> Result<Vec<Block>, Failure> {
    let known = frame.columns();
    let wanted = columns(schema)
        .into_iter()
        .filter(|column| known.contains(column));
    let mut rows = Rows::of_frame(frame, wanted.collect())?;
    let mut blocks = Vec::new();
    while let Some(rows) = rows.next_block()? {
        blocks.push(rows.block);
    }
    Ok(blocks)
}

/// Returns the positions of the selected candidates and their scores, `[output][candidate]`.
pub(crate) fn rank(
    version: &Version,
    context: Frame,
    candidates: Frame,
    best: Best,
    stop: &AtomicBool,
) -> Result<(Vec<i64>, Vec<Vec<f32>>), Failure> {
    let schema = version.schema();
    let outputs = &version.identity.outputs;
    let by = output(outputs, best.by.as_deref())?;
    let mut context = blocks(context, schema)?;
    let context = match (context.pop(), context.pop()) {
        (Some(block), None) if block.n_rows == 1 => block,
        _ => return Err(Failure::new("DataError", "context: expected one row")),
    };
    let mut scores: Vec<Vec<f32>> = vec![Vec::new(); outputs.len()];
    let mut scratch = WorkerScratch::new();
    for candidates in blocks(candidates, schema)? {
        if stop.load(Ordering::Relaxed) {
            let left_undone = "nothing was ranked";
            return Err(Failure::new(
                "NcsError",
                Stopped { left_undone }.to_string(),
            ));
        }
        let mut query = RankQuery {
            context: context.clone(),
            candidates,
            ..RankQuery::default()
        };
        let found = version.score(&mut query, false, &mut scratch)?;
        for (all, some) in scores.iter_mut().zip(found.calibrated) {
            all.extend(some);
        }
    }
    Ok(picked(scores, by, best.top_k))
}

fn output(outputs: &[String], by: Option<&str>) -> Result<usize, Failure> {
    let Some(by) = by else {
        return Ok(outputs.len() - 1);
    };
    outputs
        .iter()
        .position(|output| output == by)
        .ok_or_else(|| {
            Failure::new(
                "ModelError",
                format!("no output {by:?}; there are {}", outputs.join(", ")),
            )
        })
}

/// Selects the best candidates, best first; ties keep their input order.
fn picked(scores: Vec<Vec<f32>>, by: usize, top_k: Option<usize>) -> (Vec<i64>, Vec<Vec<f32>>) {
    let n_candidates = scores[by].len();
    let mut places: Vec<usize> = (0..n_candidates).collect();
    if let Some(top_k) = top_k {
        places.sort_by(|&a, &b| scores[by][b].total_cmp(&scores[by][a]));
        places.truncate(top_k);
    }
    let of_places = |scores: Vec<f32>| places.iter().map(|&place| scores[place]).collect();
    let scores = scores.into_iter().map(of_places).collect();
    (places.iter().map(|&place| place as i64).collect(), scores)
}

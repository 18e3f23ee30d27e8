//! A model version that answers: its files made to run, and what it does with a question.

use crate::api_error::{ApiError, Kind};
use crate::compute::WorkerScratch;
use crate::rank_request::Question;
use crate::rankers::Rankers;
use crate::statistics::Statistics;
use crate::telemetry::{ServedBy, ServedVersion, Telemetry};
use crate::wire::bounds::MOST_NAME;
use crate::wire::{listed, nearest};
use crate::words::shown;
use ncs_features::coverage::{count_values, farthest};
use ncs_features::{Batch, Block, Column, EncodeError, Encoder, FieldIds, Product, Schema};
use ncs_model::artifact::Artifact;
use ncs_model::{Ranker, Scorer};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// VersionSelector model this is, in answers, logs and metrics.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The model's name.
    pub model: Arc<str>,
    /// The version's number.
    pub number: u64,
    /// BLAKE3 of its manifest, in hex.
    pub hash: Arc<str>,
    /// What its rows mean.
    pub schema: Arc<Schema>,
    /// Names of the outputs: the tasks, then their product where one task is about another's positives.
    pub outputs: Arc<[String]>,
}

/// A version that is loaded and checked.
#[derive(Debug)]
pub struct Version {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// What it did since it was loaded.
    pub statistics: Statistics,
    scorer: Arc<Scorer>,
    encoder: Encoder,
    /// The fields that read a column.
    fields_of: HashMap<Box<str>, Vec<usize>>,
    /// The two tasks whose product is the last output.
    product: Option<Product>,
    rankers: Rankers,
    /// Where it is counted, once it answers.
    served: OnceLock<Arc<ServedVersion>>,
    /// Requests so far, to count the values of some.
    turns: AtomicU32,
}

/// Values of one request in so many are counted: looking up whether an id was met costs time.
pub(crate) const COUNTED: u32 = 8;

/// What a version says of the candidates of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// `raw[task][candidate]`: before calibration.
    pub raw: Vec<Vec<f32>>,
    /// `said[output][candidate]`: calibrated, the product last.
    pub said: Vec<Vec<f32>>,
    /// How long the encoding took, and the scoring.
    pub encode: Duration,
    /// How long the scoring took.
    pub score: Duration,
    /// The ids of the context's fields and of the candidates', for who wants to count them.
    pub ids: [Batch; 2],
}

impl Version {
    /// Reads the model in `folder`, checks every byte of it, and that it still scores the rows that it
    /// was saved with as it did then.
    ///
    /// # Errors
    /// A file is missing or was changed, or the scores are others; the text says which.
    pub fn load(folder: &Path, model: &Arc<str>, number: u64) -> Result<Version, String> {
        let artifact = Artifact::read(folder).map_err(|error| error.to_string())?;
        let hash = Artifact::hash(folder).map_err(|error| error.to_string())?;
        let scorer = Scorer::new(&artifact).ok_or_else(|| {
            format!(
                "{}: the weights are of another network than the manifest; train again, or take the model \
                 from where it came from",
                folder.display()
            )
        })?;
        if let Some(test) = &artifact.self_test {
            let checked = test.check(&scorer);
            checked.map_err(|what| {
                format!(
                    "{}: {what}; take the model from where it came from",
                    folder.display()
                )
            })?;
        }
        Ok(Version::new(
            Arc::new(scorer),
            model,
            number,
            hash.to_hex().as_str(),
        ))
    }

    fn new(scorer: Arc<Scorer>, model: &Arc<str>, number: u64, hash: &str) -> Version {
        let schema = scorer.schema().clone();
        let product = schema.product();
        let mut outputs: Vec<String> = schema.tasks.iter().map(|task| task.name.clone()).collect();
        outputs.extend(product.as_ref().map(|product| product.name.clone()));
        let mut fields_of: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (f, field) in schema.fields.iter().enumerate() {
            fields_of
                .entry(field.column.as_str().into())
                .or_default()
                .push(f);
        }
        Version {
            identity: Arc::new(Identity {
                model: model.clone(),
                number,
                hash: hash.into(),
                schema: schema.clone(),
                outputs: outputs.into(),
            }),
            statistics: Statistics::default(),
            rankers: Rankers::new(scorer.clone()),
            encoder: Encoder::new(schema),
            scorer,
            fields_of,
            product,
            served: OnceLock::new(),
            turns: AtomicU32::new(0),
        }
    }

    /// Has its scores and values counted from now on.
    pub fn count_by(&self, telemetry: &Telemetry) {
        let by = ServedBy {
            model: self.identity.model.clone(),
            version: self.identity.number,
            hash: self.identity.hash.clone(),
        };
        let fields = self.schema().fields.iter();
        let columns: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        self.served
            .get_or_init(|| telemetry.serve(by, &self.identity.outputs, &columns));
    }

    /// Where it is counted.
    pub fn served(&self) -> Option<&Arc<ServedVersion>> {
        self.served.get()
    }

    /// Counts scores that were answered, and of some requests the values that training never saw and the numbers
    /// that were clipped to its range.
    pub fn count_scores(&self, scores: &Scores) {
        let Some(served) = self.served.get() else {
            return;
        };
        for (output, scores) in scores.said.iter().enumerate() {
            served.scores(output, scores);
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(COUNTED) {
            for f in 0..self.schema().fields.len() {
                let (mut values, mut unseen, mut clipped) = (0, 0, 0);
                for ids in scores.ids.iter().map(|part| &part.fields[f]) {
                    let found = count_values(ids, |id| self.scorer.is_unseen(f, id));
                    (values, unseen) = (values + found.0, unseen + found.1);
                    clipped += ids.clipped.len() as u64;
                }
                served.values(f, values, unseen, clipped);
            }
        }
    }

    /// The frozen network.
    pub fn scorer(&self) -> &Arc<Scorer> {
        &self.scorer
    }

    /// What its rows mean.
    pub fn schema(&self) -> &Schema {
        &self.identity.schema
    }

    /// The two tasks whose product is the last output, where there is one.
    pub fn product(&self) -> Option<[usize; 2]> {
        self.product.as_ref().map(|product| product.tasks)
    }

    /// Gets ready for the kinds of questions that `old` was asked, so that the first of them is not slow.
    pub fn prepare_as(&self, old: &Version) {
        for columns in old.rankers.contexts() {
            let names = columns.iter().map(|&f| &old.schema().fields[f].column);
            let fields = names.filter_map(|name| self.fields_of.get(name.as_str()));
            let mut fields: Vec<usize> = fields.flatten().copied().collect();
            fields.sort_unstable();
            fields.dedup();
            self.rankers.get(&fields);
        }
    }

    /// Scores all candidates of a question. Where `lenient`, columns that no field reads are passed over,
    /// and a field whose column is absent is null.
    ///
    /// # Errors
    /// A column is unknown, missing, in both parts, or holds what its fields cannot read; or a number is so
    /// large that the network's sums overflow.
    pub fn score(
        &self,
        question: &mut Question,
        lenient: bool,
        scratch: &mut WorkerScratch,
    ) -> Result<Scores, ApiError> {
        let began = Instant::now();
        let context_fields = self.check_columns(question, lenient)?;
        let in_context = |f: usize| context_fields.binary_search(&f).is_ok();
        let wrong = |part: &'static str| {
            move |error: EncodeError| Kind::Invalid.says(format!("{part}: {error}"))
        };
        let context = self.encoder.encode_some(&question.context, in_context);
        let mut context = context.map_err(wrong("context"))?;
        context.n_rows = 1;
        let candidates = self
            .encoder
            .encode_some(&question.candidates, |f| !in_context(f));
        let candidates = candidates.map_err(wrong("candidates"))?;
        let encoded = Instant::now();
        let raw = match self.rankers.get(&context_fields) {
            Some(ranker) => ranked(&ranker, &context, &candidates, scratch),
            None => self.by_rows(&context_fields, &context, &candidates, scratch)?,
        };
        if let Some(row) = no_number(&raw) {
            return Err(self.no_score(row, &context, &candidates));
        }
        let said = self.said(&raw);
        Ok(Scores {
            raw,
            said,
            encode: encoded - began,
            score: encoded.elapsed(),
            ids: [context, candidates],
        })
    }

    /// The fields of the context, ascending.
    fn check_columns(
        &self,
        question: &mut Question,
        lenient: bool,
    ) -> Result<Vec<usize>, ApiError> {
        let mut read_by = vec![None; self.schema().fields.len()];
        let parts = [
            (&question.context, "context"),
            (&question.candidates, "candidates"),
        ];
        for (block, part) in parts {
            for column in &block.columns {
                let Some(fields) = self.fields_of.get(column.name.as_str()) else {
                    self.check_unread(column, part, lenient)?;
                    continue;
                };
                for &f in fields {
                    if let Some(other) = read_by[f].replace(part) {
                        return Err(Kind::Invalid.says(format!(
                            "column \"{}\" comes twice, in {other} and in {part}; send it once",
                            shown(&column.name)
                        )));
                    }
                }
            }
        }
        let absent: Vec<usize> = (0..read_by.len())
            .filter(|&f| read_by[f].is_none())
            .collect();
        if !absent.is_empty() {
            self.check_absent(&absent, lenient)?;
            for f in absent {
                read_by[f] = Some("context");
                let name = &self.schema().fields[f].column;
                if question.context.column(name).is_none() {
                    question.context.columns.push(null(name));
                    question.context.n_rows = 1;
                }
            }
        }
        let of_context = |&f: &usize| read_by[f] == Some("context");
        Ok((0..read_by.len()).filter(of_context).collect())
    }

    /// A column that no field reads: the one that groups rows may come all the same, for it names the user.
    fn check_unread(&self, column: &Column, part: &str, lenient: bool) -> Result<(), ApiError> {
        let schema = self.schema();
        if lenient || schema.group.as_ref() == Some(&column.name) {
            return Ok(());
        }
        let is_label = schema.tasks.iter().any(|task| task.label == column.name);
        let hint = match is_label {
            true => "; it is a label, which a request cannot know".to_owned(),
            false => nearest(&column.name, self.fields_of.keys().map(|name| &**name)),
        };
        let what = format!(
            "{part}: column \"{}\" is no feature of this model{hint}",
            shown(&column.name)
        );
        Err(Kind::Invalid.says(what))
    }

    fn check_absent(&self, absent: &[usize], lenient: bool) -> Result<(), ApiError> {
        if lenient {
            return Ok(());
        }
        let mut names: Vec<&str> = absent
            .iter()
            .map(|&f| self.schema().fields[f].column.as_str())
            .collect();
        names.dedup();
        let (word, them) = match names.len() {
            1 => ("column", "it"),
            _ => ("columns", "them"),
        };
        Err(Kind::Invalid.says(format!(
            "{word} missing: {}; send {them} in the context or for each candidate, null where a value is \
             unknown",
            listed(&names)
        )))
    }

    /// Candidates as whole rows, for networks that have no ranker: so many at a time that the context, which
    /// is repeated for each, does not take much memory.
    fn by_rows(
        &self,
        context_fields: &[usize],
        context: &Batch,
        candidates: &Batch,
        scratch: &mut WorkerScratch,
    ) -> Result<Vec<Vec<f32>>, ApiError> {
        let lengths = context_fields.iter().map(|&f| context.fields[f].ids.len());
        let n_rows = MOST_REPEATED / lengths.sum::<usize>().max(1);
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
            let of_part = self.scorer.score_uncalibrated(&rows, &mut scratch.pass);
            for (all, part) in scores.iter_mut().zip(of_part) {
                all.extend_from_slice(&part);
            }
        }
        Ok(scores)
    }

    /// The network's sums overflowed for a candidate: it holds a number beyond all that training saw.
    fn no_score(&self, row: usize, context: &Batch, candidates: &Batch) -> ApiError {
        let far = farthest(context, 0).into_iter();
        let far = far.chain(farthest(candidates, row));
        match far.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((distance, f)) => Kind::Invalid.says(format!(
                "candidate {}: column \"{}\" holds a number too far from those that the model was \
                 trained on, {distance:e} deviations from their mean; send null where it is unknown",
                row + 1,
                self.schema().fields[f].column
            )),
            None => Kind::Internal.says(format!(
                "candidate {}: the model's weights give no score; train again",
                row + 1
            )),
        }
    }

    /// What is answered: calibrated, with the product.
    fn said(&self, raw: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut said = raw.to_vec();
        self.scorer.calibrate(&mut said);
        said.extend(self.product.as_ref().map(|product| product.of(&said)));
        said
    }
}

/// Values of contexts that are repeated at a time.
const MOST_REPEATED: usize = 1 << 20;

/// The first candidate that some task has no number for.
fn no_number(scores: &[Vec<f32>]) -> Option<usize> {
    let of_task = |scores: &Vec<f32>| scores.iter().position(|score| score.is_nan());
    scores.iter().filter_map(of_task).min()
}

fn ranked(
    ranker: &Ranker,
    context: &Batch,
    candidates: &Batch,
    scratch: &mut WorkerScratch,
) -> Vec<Vec<f32>> {
    let n_tasks = ranker.scorer().spec().tasks.len();
    let mut scores = vec![Vec::new(); n_tasks];
    if candidates.n_rows > 0 {
        ranker.score_uncalibrated(context, candidates, &mut scratch.ranks, &mut scores);
    }
    scores
}

/// Some rows of the candidates; the fields of the context are left empty.
fn rows_of(candidates: &Batch, context_fields: &[usize], part: Range<usize>) -> Batch {
    if part == (0..candidates.n_rows) {
        return candidates.clone();
    }
    let of_field = |(f, ids): (usize, &FieldIds)| {
        let mut rows = FieldIds::default();
        if context_fields.binary_search(&f).is_err() {
            part.clone().for_each(|row| rows.push_row(ids, row));
        }
        rows
    };
    Batch {
        n_rows: part.len(),
        fields: candidates.fields.iter().enumerate().map(of_field).collect(),
        labels: candidates.labels.clone(),
        truths: candidates.truths.clone(),
        groups: Vec::new(),
    }
}

/// The ids of one row, `n` times.
fn repeated(one: &FieldIds, n: usize) -> FieldIds {
    let mut rows = FieldIds::default();
    (0..n).for_each(|_| rows.push_row(one, 0));
    rows
}

/// A column of one null.
fn null(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        values: ncs_features::Values::Int(vec![0]),
        offsets: None,
        nulls: vec![true],
    }
}

/// The beginning of the text of the only value that a block has in this column.
pub(crate) fn only_text(block: &Block, name: &str) -> Option<String> {
    let column = block.column(name)?;
    let value = column.only(0).ok()??;
    let mut buffer = ncs_features::value::TextBuffer::default();
    let text = buffer.text(&column.values, value);
    // Enough to tell users apart.
    let text = &text[..text.len().min(MOST_NAME)];
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;

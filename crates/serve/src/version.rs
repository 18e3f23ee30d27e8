//! A loaded model version and how it scores requests.

mod columns;
mod rows;

use crate::api_error::{ApiError, ErrorKind};
use crate::compute::WorkerScratch;
use crate::context_cache::{ContextCache, fill_key};
use crate::drift::DriftCounts;
use crate::rank_request::RankQuery;
use crate::rankers::Rankers;
use crate::statistics::Statistics;
use crate::telemetry::{ServedBy, ServedVersion, Telemetry};
use crate::wire::bounds::MAX_NAME;
use ncs_features::coverage::{count_values, farthest};
use ncs_features::{Batch, Block, EncodeError, Encoder, LookedUp, Product, Schema};
use ncs_model::artifact::{Artifact, ArtifactError, Delta, DeltaError};
use ncs_model::{HalfError, Precision, Ranker, Scorer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Identity of a version in responses, logs and metrics.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the model.
    pub model: Arc<str>,
    /// Version number.
    pub number: u64,
    /// BLAKE3 hash of its manifest, in hex.
    pub hash: Arc<str>,
    /// Schema of its rows.
    pub schema: Arc<Schema>,
    /// Names of the outputs: the tasks, then the product of each task defined on another's positives.
    pub outputs: Arc<[String]>,
}

/// A version that is loaded and verified.
#[derive(Debug)]
pub struct Version {
    /// Identity of the version.
    pub identity: Arc<Identity>,
    /// Statistics since it was loaded.
    pub statistics: Statistics,
    scorer: Arc<Scorer>,
    encoder: Encoder,
    /// Indices of the fields that read a column.
    fields_of: HashMap<Box<str>, Vec<usize>>,
    /// The products of tasks, the last outputs.
    products: Vec<Product>,
    /// The output that candidates are ranked by if a request names none.
    main_output: usize,
    rankers: Rankers,
    /// Prepared contexts, and the number by which this version's are told from those of others.
    contexts: Option<(Arc<ContextCache>, u64)>,
    /// Its metrics, once registered.
    served: OnceLock<Arc<ServedVersion>>,
    /// Its values and scores beside those of its training; `None` for models of earlier versions.
    drift: Option<Arc<DriftCounts>>,
    /// Columns that its training looked up by ids.
    looked_up: Vec<LookedUp>,
    /// True if it was made from a delta.
    from_delta: bool,
    /// Number of requests so far, for sampling those whose values are counted.
    n_requests: AtomicU32,
}

/// Error of loading a version.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The files are not those of a model.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The delta is not sound, or not against the version that it was applied to.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The weights are those of another network.
    #[error(
        "{}: the weights do not match the network of the manifest; train again, or take the model from \
         where it came from",
        folder.display()
    )]
    Weights {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The model does not score the rows of its self-test as it did when it was saved.
    #[error("{}: {what}; take the model from where it came from", folder.display())]
    SelfTest {
        /// The model's folder.
        folder: PathBuf,
        /// The row and its scores.
        what: String,
    },
    /// The model cannot be scored in half precision.
    #[error("{}: --half: {error}", folder.display())]
    Half {
        /// The model's folder.
        folder: PathBuf,
        /// The reason.
        error: HalfError,
    },
}

/// The values of one in this many requests are counted: looking up whether training saw an id takes time.
pub(crate) const COUNT_EVERY: u32 = 8;

/// Scores of the candidates of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Uncalibrated scores `raw[task][candidate]`.
    pub raw: Vec<Vec<f32>>,
    /// Calibrated scores `calibrated[output][candidate]`, the products last.
    pub calibrated: Vec<Vec<f32>>,
    /// Time for encoding.
    pub encode: Duration,
    /// Time for scoring.
    pub score: Duration,
    /// Ids of the context's fields and of the candidates' fields, for counting them.
    pub ids: [Batch; 2],
}

impl Version {
    /// Reads the model in `folder`, verifies its checksums, and checks that it still scores the rows of its
    /// self test as it did when it was saved.
    ///
    /// # Errors
    /// A file is missing or was changed, or the scores differ; the message names which. Or the model cannot be scored
    /// in this precision.
    pub fn load(
        folder: &Path,
        model: &Arc<str>,
        number: u64,
        precision: Precision,
    ) -> Result<Version, VersionError> {
        Version::opened(Artifact::read(folder)?, folder, model, number, precision)
    }

    /// Makes the version as [`Version::load`] does, but leaves the vectors of tables in the file of the weights, which is
    /// mapped: memory may be smaller than the tables, and scores are the same.
    ///
    /// # Errors
    /// Those of [`Version::load`].
    pub fn map(
        folder: &Path,
        model: &Arc<str>,
        number: u64,
        precision: Precision,
    ) -> Result<Version, VersionError> {
        Version::opened(Artifact::map(folder)?, folder, model, number, precision)
    }

    fn opened(
        artifact: Artifact,
        folder: &Path,
        model: &Arc<str>,
        number: u64,
        precision: Precision,
    ) -> Result<Version, VersionError> {
        let hash = Artifact::hash(folder)?;
        let scorer = Scorer::new(&artifact).ok_or_else(|| VersionError::Weights {
            folder: folder.to_owned(),
        })?;
        Version::checked(scorer, &artifact, hash, folder, model, number, precision)
    }

    /// Makes the version of the model in `folder` from `parent`, the version that its delta is against, and from the
    /// delta. The result is verified as [`Version::load`] verifies the whole.
    ///
    /// # Errors
    /// As [`Version::load`]; or the delta does not lead from the parent to the model.
    pub fn updated(
        parent: &Version,
        folder: &Path,
        delta: &Delta,
        number: u64,
        precision: Precision,
    ) -> Result<Version, VersionError> {
        let updated = parent.scorer.updated(folder, delta)?;
        let (frame, hash) = (&updated.frame, updated.hash);
        let model = &parent.identity.model;
        let version = Version::checked(
            updated.scorer,
            frame,
            hash,
            folder,
            model,
            number,
            precision,
        )?;
        Ok(Version {
            from_delta: true,
            ..version
        })
    }

    /// Checks that a scorer scores the rows of the model's self-test as it did when it was saved.
    fn checked(
        scorer: Scorer,
        artifact: &Artifact,
        hash: blake3::Hash,
        folder: &Path,
        model: &Arc<str>,
        number: u64,
        precision: Precision,
    ) -> Result<Version, VersionError> {
        let folder = || folder.to_owned();
        if let Some(test) = &artifact.self_test {
            let checked = test.check(&scorer);
            checked.map_err(|what| VersionError::SelfTest {
                folder: folder(),
                what,
            })?;
        }
        let scorer = Arc::new(scorer);
        let checked = precision.check(&scorer, artifact.self_test.as_ref());
        checked.map_err(|error| VersionError::Half {
            folder: folder(),
            error,
        })?;
        let mut version = Version::new(scorer.clone(), model, number, hash.to_hex().as_str());
        version.rankers = Rankers::new(scorer, precision);
        version.prepare_for(&artifact.context_columns);
        version.looked_up.clone_from(&artifact.looked_up);
        let drift = artifact.distributions.clone().map(DriftCounts::new);
        version.drift = drift.map(Arc::new);
        Ok(version)
    }

    /// Returns the columns that its training looked up by ids.
    pub fn looked_up(&self) -> &[LookedUp] {
        &self.looked_up
    }

    /// Returns true if the version was made from a delta.
    pub fn is_from_delta(&self) -> bool {
        self.from_delta
    }

    /// A version of a model that was read elsewhere; `hash` is that of its manifest, in hex.
    pub fn new(scorer: Arc<Scorer>, model: &Arc<str>, number: u64, hash: &str) -> Version {
        let schema = scorer.schema().clone();
        let products = schema.products();
        let main_product = schema.main_product();
        let mut outputs: Vec<String> = schema.tasks.iter().map(|task| task.name.clone()).collect();
        let main_output = main_product.map_or(0, |product| outputs.len() + product);
        outputs.extend(products.iter().map(|product| product.name.clone()));
        let mut fields_of: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        // Crosses and past rates are of ids that other fields read.
        let columns = schema.fields.iter().enumerate();
        for (f, field) in columns.filter(|&(f, _)| schema.parts(f).is_none()) {
            for column in field.columns() {
                let fields = fields_of.entry(column.as_str().into()).or_default();
                fields.push(f);
            }
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
            rankers: Rankers::new(scorer.clone(), Precision::Single),
            contexts: None,
            encoder: Encoder::new(schema),
            scorer,
            fields_of,
            products,
            main_output,
            served: OnceLock::new(),
            drift: None,
            looked_up: Vec::new(),
            from_delta: false,
            n_requests: AtomicU32::new(0),
        }
    }

    /// Registers the version with the telemetry, so that its scores and values are counted.
    pub fn count_by(&self, telemetry: &Telemetry) {
        let by = ServedBy {
            model: self.identity.model.clone(),
            version: self.identity.number,
            hash: self.identity.hash.clone(),
        };
        let fields = self.schema().fields.iter();
        let columns: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        let served = self
            .served
            .get_or_init(|| telemetry.serve(by, &self.identity.outputs, &columns));
        if let Some(drift) = &self.drift {
            served.compare(drift.clone());
        }
    }

    /// Returns its metrics, if registered.
    pub fn served(&self) -> Option<&Arc<ServedVersion>> {
        self.served.get()
    }

    /// Counts the scores of a response, and for a sample of the requests the values that training never saw
    /// and the numbers clipped to its range.
    pub fn count_scores(&self, scores: &Scores) {
        let Some(served) = self.served.get() else {
            return;
        };
        for (output, scores) in scores.calibrated.iter().enumerate() {
            served.scores(output, scores);
        }
        let request = self.n_requests.fetch_add(1, Ordering::Relaxed);
        if request.is_multiple_of(COUNT_EVERY) {
            if let Some(drift) = &self.drift {
                self.count_drift(drift, scores);
            }
            for f in 0..self.schema().fields.len() {
                let table = self.schema().fields[f].table;
                let is_number = self.schema().tables[table].ids.weighs_rows();
                let (mut values, mut unseen, mut clipped) = (0, 0, 0);
                for ids in scores.ids.iter().map(|part| &part.fields[f]) {
                    let found = count_values(ids, is_number, |id| self.scorer.is_unseen(f, id));
                    (values, unseen) = (values + found.0, unseen + found.1);
                    clipped += ids.clipped.len() as u64;
                }
                served.values(f, values, unseen, clipped);
            }
        }
    }

    /// Counts the values and scores of a request in the bins of the training.
    fn count_drift(&self, drift: &DriftCounts, scores: &Scores) {
        drift.keep_due(Instant::now());
        let outputs = scores.calibrated.iter().enumerate();
        outputs.for_each(|(output, scores)| drift.count_scores(output, scores));
        let [context, candidates] = &scores.ids;
        let schema = self.schema();
        for (f, field) in schema.fields.iter().enumerate() {
            let ids = &schema.tables[field.table].ids;
            let n = candidates.n_rows;
            drift.count_column(f, ids, &context.fields[f], context.n_rows, n as u64);
            drift.count_column(f, ids, &candidates.fields[f], n, 1);
        }
    }

    /// Returns the scorer.
    pub fn scorer(&self) -> &Arc<Scorer> {
        &self.scorer
    }

    /// Returns the schema.
    pub fn schema(&self) -> &Schema {
        &self.identity.schema
    }

    /// Returns true if a field reads the column of this name.
    pub fn reads(&self, column: &str) -> bool {
        self.fields_of.contains_key(column)
    }

    /// Returns the products of tasks, in the order of the outputs after those of the tasks.
    pub fn products(&self) -> &[Product] {
        &self.products
    }

    /// Returns the output that candidates are ranked by if a request names none: the product of the longest chain of
    /// tasks, or the first task.
    pub fn main_output(&self) -> usize {
        self.main_output
    }

    /// Returns the version with a cache of prepared contexts, which other versions may use too.
    pub fn with_context_cache(self, cache: Arc<ContextCache>) -> Version {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Version {
            contexts: Some((cache, number)),
            ..self
        }
    }

    /// Builds the rankers for the context columns that `old` was used with, so that the first requests are
    /// not slow.
    pub fn warm_up(&self, old: &Version) {
        for fields in old.rankers.contexts() {
            let column = |&f: &usize| old.schema().fields[f].column.clone();
            self.prepare_for(&fields.iter().map(column).collect::<Vec<_>>());
        }
    }

    /// Builds the ranker for requests with these columns in the context; columns that no field reads are passed over.
    fn prepare_for(&self, columns: &[String]) {
        if columns.is_empty() {
            return;
        }
        // A field of two columns is in the context if both are.
        let is_whole = |f: &usize| {
            let mut read = self.schema().fields[*f].columns();
            read.all(|column| columns.contains(column))
        };
        let fields = columns
            .iter()
            .filter_map(|name| self.fields_of.get(name.as_str()));
        let mut fields: Vec<usize> = fields.flatten().copied().filter(is_whole).collect();
        fields.sort_unstable();
        fields.dedup();
        self.rankers.get(&self.with_derived(fields));
    }

    /// Scores all candidates of a request. If `lenient`, columns that no field reads are ignored, and a
    /// field whose column is absent is null.
    ///
    /// # Errors
    /// A column is unknown, missing, in both parts, or has values that its fields cannot read; or a number
    /// is so large that the network overflows.
    pub fn score(
        &self,
        query: &mut RankQuery,
        lenient: bool,
        scratch: &mut WorkerScratch,
    ) -> Result<Scores, ApiError> {
        let began = Instant::now();
        let context_fields = self.check_columns(query, lenient)?;
        let in_context = |f: usize| context_fields.binary_search(&f).is_ok();
        if let Some([inside, outside]) = self.encoder.divided_events(in_context) {
            return Err(ErrorKind::Invalid.error(format!(
                "column \"{inside}\" is in the context and \"{outside}\" is not, and both are about the same events; send \
                 them together, in the context or with each candidate"
            )));
        }
        let wrong = |part: &'static str| {
            move |error: EncodeError| ErrorKind::Invalid.error(format!("{part}: {error}"))
        };
        let context = self.encoder.encode_some(&query.context, in_context);
        let mut context = context.map_err(wrong("context"))?;
        context.n_rows = 1;
        let candidates = self
            .encoder
            .encode_some(&query.candidates, |f| !in_context(f));
        let mut candidates = candidates.map_err(wrong("candidates"))?;
        self.encoder
            .encode_across(&context, &mut candidates, in_context);
        let encoded = Instant::now();
        let raw = match self.rankers.get(&context_fields) {
            Some(ranker) => self.ranked(&ranker, &context_fields, [&context, &candidates], scratch),
            None => self.score_rows(&context_fields, &context, &candidates, scratch)?,
        };
        if let Some(row) = first_nan(&raw) {
            return Err(self.overflow_error(row, &context, &candidates));
        }
        let calibrated = self.calibrate(&raw);
        Ok(Scores {
            raw,
            calibrated,
            encode: encoded - began,
            score: encoded.elapsed(),
            ids: [context, candidates],
        })
    }

    /// Scores candidates by a ranker, whose part of the context is kept if there is a cache.
    fn ranked(
        &self,
        ranker: &Ranker,
        context_fields: &[usize],
        [context, candidates]: [&Batch; 2],
        scratch: &mut WorkerScratch,
    ) -> Vec<Vec<f32>> {
        let mut scores = vec![Vec::new(); self.schema().tasks.len()];
        let (buffers, key) = (&mut scratch.rank_buffers, &mut scratch.context_key);
        if candidates.n_rows == 0 {
            return scores;
        }
        if let Some((cache, number)) = &self.contexts {
            fill_key(key, *number, context, context_fields);
            let prepared = cache.get(key, || ranker.prepare(context, buffers));
            ranker.score_prepared((context, &prepared), candidates, buffers, &mut scores);
        } else {
            ranker.score_uncalibrated(context, candidates, buffers, &mut scores);
        }
        scores
    }

    /// Builds the error for a candidate whose scores overflowed: it has a number far outside the training
    /// data.
    fn overflow_error(&self, row: usize, context: &Batch, candidates: &Batch) -> ApiError {
        let far = farthest(context, 0).into_iter();
        let far = far.chain(farthest(candidates, row));
        match far.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((distance, f)) => ErrorKind::Invalid.error(format!(
                "candidate {}: column \"{}\" holds a number too far from those that the model was \
                 trained on, {distance:e} deviations from their mean; send null where it is unknown",
                row + 1,
                self.schema().fields[f].column
            )),
            None => ErrorKind::Internal.error(format!(
                "candidate {}: the model's weights give a NaN score; train again",
                row + 1
            )),
        }
    }

    /// Returns the scores to return: calibrated, with the products.
    fn calibrate(&self, raw: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut scores = raw.to_vec();
        self.scorer.calibrate(&mut scores);
        let products = self.products.iter();
        let products: Vec<Vec<f32>> = products.map(|product| product.of(&scores)).collect();
        scores.extend(products);
        scores
    }
}

/// Returns the first candidate with a NaN score.
fn first_nan(scores: &[Vec<f32>]) -> Option<usize> {
    let position = |scores: &Vec<f32>| scores.iter().position(|score| score.is_nan());
    scores.iter().filter_map(position).min()
}

/// Returns the only value of a block's column as text, cut to [`MAX_NAME`] bytes.
pub(crate) fn only_text(block: &Block, name: &str) -> Option<String> {
    let column = block.column(name)?;
    let value = column.only(0).ok()??;
    let mut buffer = ncs_features::value::TextBuffer::default();
    let text = buffer.text(&column.values, value);
    // Long enough to distinguish users.
    let text = &text[..text.len().min(MAX_NAME)];
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;

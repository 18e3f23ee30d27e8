//! A complete run: label checks, mask search, training, and the result.

use crate::admission::Admission;
use crate::context::{SearchContext, Training};
use crate::earlier::Earlier;
use crate::error::TrainError;
use crate::events::{Event, Listener};
use crate::evidence::{self, CountedRows};
use crate::id_dropout::IdDropout;
use crate::label_smoothing;
use crate::lifetimes;
use crate::moments::EarlierMoments;
use crate::outcome::{self, Start};
use crate::phase::Phase;
use crate::plan::{Keep, Pick, SearchKind, Shrinkage, StorageKind, TrainPlan};
use crate::progress::ValidationRecord;
use crate::rank_tables::RankTables;
use crate::ranks::{Ranks, in_words};
use crate::refit::{self, RefitRows};
use crate::search::{self, TaskSearch, UnitChoice};
use crate::shrinkage;
use crate::step_budget::StepBudget;
use ncs_collective::{Collective, Metered, Solo};
use ncs_features::{LabelCounts, Objective, Schema, Task, TaskCounts};
use ncs_model::artifact::{Ancestor, Artifact};
use ncs_model::kernels::SimdLevel;
use ncs_model::{InitialRows, NetworkPlan, Spec, TableStorage, tensor_file};
use ncs_readers::batches::Rows;
use ncs_readers::cache::Cache;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Inputs of a run.
pub struct Run<'a> {
    /// The network.
    pub network: &'a NetworkPlan,
    /// Training settings.
    pub plan: &'a TrainPlan,
    /// The fitted schema.
    pub schema: &'a Arc<Schema>,
    /// The training rows.
    pub train: &'a Cache,
    /// The validation rows.
    pub valid: Option<&'a Cache>,
    /// Identifies data and schema.
    pub data_key: [u8; 32],
    /// Folder for checkpoints and the levels of the search.
    pub folder: &'a Path,
    /// Maximum time between two checkpoints, if they are quick to write; if writing one takes
    /// long, the time in between is nine times as long.
    pub checkpoint_every: Duration,
    /// If set to true, the run writes a checkpoint and stops after the current step.
    pub stop: &'a AtomicBool,
    /// Rows of the refit after validation has chosen; required if the plan asks for a refit.
    pub refit: Option<RefitRows<'a>>,
    /// For each table the vectors at which its rows begin, by the ids of the largest schema (that of a refit, if there is
    /// one); empty: at random ones.
    pub initial_rows: &'a [Option<Arc<InitialRows>>],
    /// Earlier model from which the training continues; `None`: it starts from random weights.
    pub earlier: Option<&'a Earlier>,
}

/// Result of a run.
pub struct Trained {
    /// Model, as it is saved and served.
    pub artifact: Artifact,
    /// Model chosen on the validation rows, if a refit on all rows followed; it was
    /// not trained on the validation rows.
    pub chosen: Option<Artifact>,
    /// The validations of the training.
    pub history: Vec<ValidationRecord>,
    /// One for each task, where masks were searched.
    pub searches: Vec<TaskSearch>,
    /// Choice of the share of common units, if the run file did not state it.
    pub units: Option<UnitChoice>,
    /// Explanation of the choice of tasks with shrinkage of table rows, if validation made it.
    pub shrinkage: Option<String>,
    /// Whether the optimizer moments are those of the earlier model's training, and if not, why; `None` without an
    /// earlier model.
    pub moments: Option<String>,
    /// All trainings of the run, in this process or an earlier one.
    pub trainings: Vec<Training>,
}

impl Run<'_> {
    /// Checks, searches and trains. Interrupted and called again with the same folder, it ends with
    /// the same weights as if it had not been interrupted.
    ///
    /// # Errors
    /// Labels that do not allow training or evaluation of a task; a folder of another run; a NaN or infinite loss;
    /// files that cannot be read or written; and [`TrainError::Stopped`] if a stop was requested.
    pub fn run(&self, listener: &mut (dyn Listener + Send)) -> Result<Trained, TrainError> {
        self.run_on(&Solo, listener)
    }

    /// Runs as one of several ranks, all of which call this with the same settings, rows and folder. Each trains on its share
    /// of the rows of every batch; the first alone writes files. All return the same result.
    ///
    /// # Errors
    /// The errors of [`Run::run`]; a rank that has ended or does not answer; ranks that are not alike.
    pub fn run_on(
        &self,
        ranks: &dyn Collective,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Trained, TrainError> {
        let valid = self.valid.map(Cache::label_counts);
        check_labels(
            self.schema,
            self.network,
            self.plan,
            self.train.label_counts(),
            valid,
        )?;
        let storage = self.storage()?;
        let (moments, told) = self.moments(&storage);
        if let Some(told) = &told {
            listener.on_event(&Event::Noted { text: told });
        }
        let identity = self.identity(moments.as_ref());
        let (metered, begun) = (Metered::new(ranks), Instant::now());
        let ranks = Ranks::new(&metered, self.plan.rank_tables);
        self.join(ranks, &identity, listener)?;
        let threads = self.plan.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| TrainError::Threads {
            threads,
            reason: error.to_string(),
        })?;
        let trained = pool.install(|| {
            let context = self.context(ranks, &identity, moments.as_ref(), storage)?;
            self.search_and_train(&context, listener)
        })?;
        if ranks.n_ranks() > 1 {
            let text = in_words(metered.traffic(), begun.elapsed());
            listener.on_event(&Event::Noted { text: &text });
        }
        Ok(Trained {
            moments: told,
            ..trained
        })
    }

    /// Returns the optimizer moments to go on with, and what is told about them.
    fn moments(&self, storage: &TableStorage) -> (Option<EarlierMoments>, Option<String>) {
        let Some(earlier) = self.earlier else {
            return (None, None);
        };
        let Some(run) = &earlier.run else {
            return (None, Some("optimizer moments start anew".to_owned()));
        };
        match EarlierMoments::find(earlier, run, self.plan, storage) {
            Ok(moments) => {
                let path = moments.path().display().to_string();
                (
                    Some(moments),
                    Some(format!("optimizer moments are those of {path}")),
                )
            }
            Err(why) => (None, Some(format!("optimizer moments start anew: {why}"))),
        }
    }

    fn search_and_train(
        &self,
        context: &SearchContext<'_>,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Trained, TrainError> {
        let (mut searches, mut agreements) = (Vec::new(), Vec::new());
        let (mut units, mut start) = (None, Start::default());
        if self.network.kind.has_masks() {
            let found = search::run(context, listener)?;
            start.masks = Some(Arc::new(found.masks));
            start.weights = Some(found.start);
            (searches, agreements) = (found.searches, found.agreements);
            units = found.units;
        }
        let chosen =
            shrinkage::train(context, self.schema, &start, &self.phase(context), listener)?;
        let mut trainings = search::trainings(context, &searches);
        let variants = chosen.variants.iter();
        trainings.extend(variants.map(|variant| variant.outcome.training.clone()));
        let masks = start.masks.clone();
        let mut artifact = outcome::artifact(context, self.schema, masks, chosen.kept())?;
        let mut before = None;
        if let Some(rows) = self.refit.filter(|_| self.plan.refit) {
            let (again, more) = refit::run(context, rows, &start, &chosen, listener)?;
            trainings.extend(more);
            before = Some(std::mem::replace(&mut artifact, again));
        }
        artifact.agreements = agreements;
        artifact.ancestry = self.ancestry();
        let rows = self.refit.filter(|_| self.plan.refit);
        artifact.lives = lifetimes::after(
            &artifact,
            self.earlier.map(|earlier| &*earlier.artifact),
            &self.plan.lifetimes,
            rows.map_or(self.train, |rows| rows.train),
        )?;
        Ok(Trained {
            trainings,
            artifact,
            chosen: before,
            history: chosen.history(),
            searches,
            units,
            shrinkage: chosen.why,
            moments: None,
        })
    }

    /// Returns what the search and the trainings of this run use.
    fn context<'a>(
        &'a self,
        ranks: Ranks<'a>,
        identity: &'a str,
        moments: Option<&'a EarlierMoments>,
        storage: TableStorage,
    ) -> Result<SearchContext<'a>, TrainError> {
        let id_dropout =
            IdDropout::measure(self.plan.id_dropout, self.schema, self.train, self.valid)?;
        Ok(SearchContext {
            plan: self.plan,
            schema: self.schema,
            spec: Spec::of(self.schema, self.network),
            train: self.train,
            valid: self.valid,
            folder: self.folder,
            checkpoint: self.folder.join("checkpoint.safetensors"),
            checkpoint_every: self.checkpoint_every,
            run: identity,
            stop: self.stop,
            // The search always uses the default shrinkage, independent of the training after it.
            evidence: evidence::of_tasks(
                self.plan.evidence,
                false,
                CountedRows {
                    schema: self.schema,
                    train: self.train,
                    id_dropout: &id_dropout,
                    ranks,
                },
            )?,
            admission: Admission::count(
                &self.plan.lifetimes,
                self.schema,
                self.train,
                self.earlier,
            )?,
            id_dropout,
            smoothings: label_smoothing::of_tasks(
                &self.plan.label_smoothing,
                self.train.label_counts(),
            ),
            bias_counts: self.train.label_counts(),
            initial_rows: self.initial_rows,
            earlier: self.earlier,
            moments,
            ranks,
            storage,
        })
    }

    /// Returns where tables lie.
    fn storage(&self) -> Result<TableStorage, TrainError> {
        if self.plan.table_storage == StorageKind::Memory {
            return Ok(TableStorage::Memory);
        }
        let folder = self.plan.table_folder.as_deref().unwrap_or(self.folder);
        crate::tensors::create_folder(folder)?;
        Ok(TableStorage::in_folder(folder))
    }

    /// Returns the earlier trainings, oldest first, and the model from which this one continues.
    fn ancestry(&self) -> Vec<Ancestor> {
        let Some(earlier) = self.earlier else {
            return Vec::new();
        };
        let mut ancestry = earlier.artifact.ancestry.clone();
        ancestry.push(Ancestor {
            day: self.plan.day,
            model: earlier.hash.to_hex().to_string(),
            rows: self.train.n_rows(),
            calibration: None,
            erasure: None,
        });
        ancestry
    }

    fn phase(&self, context: &SearchContext<'_>) -> Phase {
        let batches = context.batches(Rows::All, context.rows_per_step());
        let per_epoch = u64::from(self.plan.evaluations_per_epoch);
        Phase {
            name: "train".to_owned(),
            draws: "train".to_owned(),
            tasks: (0..self.schema.tasks.len()).collect(),
            rows: Rows::All,
            rows_per_batch: context.rows_per_step(),
            budget: StepBudget::of_epochs(batches, f64::from(self.plan.epochs), per_epoch),
            keep: self.plan.keep,
            patience: self.plan.patience,
            validates: true,
            average: self.plan.average,
            keep_at: Vec::new(),
        }
    }

    /// Returns a hash of settings and data: runs with the same identity give the same weights.
    fn identity(&self, moments: Option<&EarlierMoments>) -> String {
        let mut hasher = blake3::Hasher::new();
        let plan = TrainPlan {
            // Neither how often a run is saved nor where its ranks hold tables changes it, but they must agree on the latter.
            checkpoint_steps: 1,
            rank_tables: RankTables::Replicated,
            ..self.plan.clone()
        };
        hasher.update(canonical_json(&(self.network, &plan)).as_bytes());
        hasher.update(&self.data_key);
        for (table, rows) in self.initial_rows.iter().enumerate() {
            if let Some(rows) = rows {
                hasher.update(format!("table {table}").as_bytes());
                hasher.update(&rows.bytes());
            }
        }
        if let Some(earlier) = self.earlier {
            hasher.update(earlier.hash.as_bytes());
        }
        if let Some(moments) = moments {
            hasher.update(moments.hash().as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Claims the folder on the first rank, and checks that all ranks do the same work in it.
    fn join(
        &self,
        ranks: Ranks<'_>,
        identity: &str,
        listener: &mut dyn Listener,
    ) -> Result<(), TrainError> {
        ranks.check_same("settings, rows or number of threads", identity)?;
        let tables = format!("{:?}", self.plan.rank_tables).to_lowercase();
        ranks.check_same("distributed.tables", &tables)?;
        let storage = format!("{:?}", self.plan.table_storage).to_lowercase();
        ranks.check_same("training.table_storage", &storage)?;
        // The same sums give the same step only where they are rounded alike.
        let level = format!("{:?}", SimdLevel::best());
        ranks.check_same("the processor's instructions", &level)?;
        ranks.on_first(|| self.claim_folder(identity))?;
        let path = self.folder.join("run.id");
        let seen = std::fs::read_to_string(path).unwrap_or_default();
        ranks.check_same("what they find in the run's folder", seen.trim())?;
        if ranks.n_ranks() > 1 {
            let (n, threads) = (ranks.n_ranks(), self.plan.threads);
            let text = format!(
                "{n} ranks train together, each with {threads} threads and tables {tables}"
            );
            listener.on_event(&Event::Noted { text: &text });
        }
        Ok(())
    }

    fn claim_folder(&self, identity: &str) -> Result<(), TrainError> {
        let path = self.folder.join("run.id");
        match std::fs::read_to_string(&path) {
            Ok(found) if found.trim() == identity => Ok(()),
            Ok(found) if !found.trim().is_empty() => Err(self.other_run()),
            // Not UTF-8: not written by this program.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(self.other_run()),
            _ => {
                crate::tensors::create_parent_folder(&path)?;
                Ok(tensor_file::write_bytes(
                    &path,
                    format!("{identity}\n").as_bytes(),
                )?)
            }
        }
    }

    fn other_run(&self) -> TrainError {
        TrainError::OtherRun {
            folder: self.folder.to_owned(),
        }
    }
}

/// Returns settings as JSON with sorted keys: the same text for the same settings, whatever their types are called.
fn canonical_json(settings: &impl Serialize) -> String {
    let mut json = serde_json::to_value(settings).expect("settings are numbers, names and lists");
    json.sort_all_objects();
    json.to_string()
}

/// Checks, before the first step of a run, that every task has labels to train on, and labels to validate on if
/// validation decides.
///
/// # Errors
/// The first task without such labels, and the part; [`label_problems`] returns all of them.
pub fn check_labels(
    schema: &Schema,
    network: &NetworkPlan,
    plan: &TrainPlan,
    train: &LabelCounts,
    valid: Option<&LabelCounts>,
) -> Result<(), TrainError> {
    let problems = label_problems(schema, network, plan, train, valid);
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// Returns all problems that [`check_labels`] reports one at a time.
pub fn label_problems(
    schema: &Schema,
    network: &NetworkPlan,
    plan: &TrainPlan,
    train: &LabelCounts,
    valid: Option<&LabelCounts>,
) -> Vec<TrainError> {
    let mut problems = problems_of_part(schema, train, "train", "train");
    match (validation_decides(network, plan), valid) {
        (true, Some(valid)) => {
            problems.extend(problems_of_part(schema, valid, "valid", "validate"))
        }
        (true, None) => problems.push(TrainError::Labels {
            part: "valid",
            purpose: "validate",
            task: schema.tasks[0].name.clone(),
            found: "there are no validation rows".to_owned(),
            remedy: "set data.valid or data.split",
        }),
        (false, _) => {}
    }
    problems
}

/// Returns true if the validation rows decide on the kept weights, the end of training or the choice of mask.
fn validation_decides(network: &NetworkPlan, plan: &TrainPlan) -> bool {
    let search = &plan.search;
    let picks = network.kind.has_masks()
        && match search.kind {
            SearchKind::Magnitude => search.pick == Pick::Best,
            SearchKind::Gradient => !search.candidates.is_empty(),
            SearchKind::Random | SearchKind::Given(_) => false,
        };
    let compares = plan.shrinkage == Shrinkage::Validated;
    plan.keep != Keep::Last || plan.patience.is_some() || picks || compares
}

/// Returns an error for each task without labels that differ in a part of the data.
fn problems_of_part(
    schema: &Schema,
    counts: &LabelCounts,
    part: &'static str,
    purpose: &'static str,
) -> Vec<TrainError> {
    let problem = |(task, counts): (&Task, &TaskCounts)| {
        let found = match (counts.known, counts.constant()) {
            (0, _) => "no row has a known label".to_owned(),
            (known, _) if task.objective == Objective::Ratio && counts.positives == 0 => {
                format!("none of the {known} known labels is above 0")
            }
            (known, Some(label)) if task.objective != Objective::Ratio => {
                format!("all {known} known labels are {label}")
            }
            _ => return None,
        };
        Some(TrainError::Labels {
            part,
            purpose,
            task: task.name.clone(),
            found,
            remedy: "check its label column, its `where`, and the split",
        })
    };
    let tasks = schema.tasks.iter().zip(&counts.tasks);
    tasks.filter_map(problem).collect()
}

//! Checkpoints for a bit-exact resume: weights, moments, best weights and the position in the data, in one file, or with
//! the table rows in a file of each rank.
//!
//! Writing needs memory for one buffer only: tensors are not copied, and embedding tables are written without uninitialised
//! rows, in the order in which they lie. Resuming reads the whole file, or maps it where tables are in files, then fills
//! tables and moments from it.

mod shards;
mod tables;

use crate::averages::Averages;
use crate::best_weights::{Best, BestSlot, BestWeights};
use crate::error::{TrainError, unfit};
use crate::gradient_sums::GradientSums;
use crate::optim::{NetworkState, Optimizers};
use crate::progress::Progress;
use crate::ranks::Ranks;
use crate::tensors::{Tensors, read};
use ncs_model::{Model, Network, Table, TableStorage, TensorFile, Weights};
use serde::{Deserialize, Serialize};
use shards::ShardSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tables::KeptRows;

/// Contents of a training's checkpoint.
pub(crate) struct Checkpointed<'t> {
    pub(crate) model: &'t mut Model,
    pub(crate) optimizers: &'t mut Optimizers,
    pub(crate) progress: &'t mut Progress,
    pub(crate) best: &'t mut BestWeights,
    pub(crate) gradients: &'t mut [GradientSums],
    pub(crate) averages: Option<&'t mut Averages>,
}

/// Decides when a checkpoint is due by elapsed time; bounds the work lost in a crash.
#[derive(Debug)]
pub(crate) struct Clock {
    every: Duration,
    /// When the last one was complete, or the training began.
    last: Instant,
    /// Time that the last write took.
    took: Duration,
}

/// Minimum ratio of training time between two writes to the time of a write.
const WORK_PER_WRITE: u32 = 9;

impl Clock {
    /// Starts the clock: a checkpoint is due every `every`.
    pub(crate) fn start(every: Duration) -> Clock {
        Clock {
            every,
            last: Instant::now(),
            took: Duration::ZERO,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every.max(self.took * WORK_PER_WRITE)
    }

    /// Records that the checkpoint started at `begun` is complete.
    pub(crate) fn note(&mut self, begun: Instant) {
        self.last = Instant::now();
        self.took = self.last - begun;
    }
}

/// Format version; a checkpoint of another version is rejected.
const FORMAT: &str = "4";

/// Opened checkpoint of the requested phase.
pub(crate) struct Saved {
    path: PathBuf,
    /// Time of writing, if the file system provides it.
    pub(crate) time: Option<SystemTime>,
    file: TensorFile,
    state: SavedState,
    /// Where rows of kept weights go.
    storage: TableStorage,
}

impl Saved {
    /// Returns the steps of each network's optimizer.
    pub(crate) fn networks(&self) -> &[SavedNetwork] {
        &self.state.networks
    }

    /// Returns the kinds of the optimizers, if the writer told them.
    pub(crate) fn optimizers(&self) -> Option<&str> {
        self.file.metadata("optimizers")
    }

    /// Returns true if layers and heads of some kept or current weights have this hash.
    pub(crate) fn has_weights(&self, hash: &blake3::Hash) -> bool {
        let is_weights = |name: &&str| {
            let is_of = name.starts_with("best.") || name.starts_with("tower.");
            is_of && name.ends_with(".dense")
        };
        let hash = hash.to_hex();
        let mut names = self.file.names().filter(is_weights);
        names.any(|name| self.file.hash(name) == Some(hash.as_str()))
    }

    /// Returns the hash of all of it.
    pub(crate) fn hash(&self) -> &str {
        self.file.metadata("b3").unwrap_or_default()
    }
}

/// State other than tensors.
#[derive(Debug, Serialize, Deserialize)]
struct SavedState {
    state: Progress,
    #[serde(rename = "towers")]
    networks: Vec<SavedNetwork>,
    /// For each slot.
    best: Vec<Option<SavedBest>>,
    /// Number of weight sets that the slots refer to.
    n_weights: usize,
}

/// Steps of a network's optimizer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedNetwork {
    pub(crate) steps: u64,
    /// By group of parameters.
    pub(crate) counts: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBest {
    #[serde(rename = "goodness")]
    selection_score: f64,
    step: u64,
    /// Numbers of weight sets.
    weights: Vec<usize>,
}

/// Adds a network and its optimizer in their current state, without embedding tables.
fn add_network<'a>(
    tensors: &mut Tensors<'a>,
    number: usize,
    (network, state): (&'a Network, &'a NetworkState),
) {
    tensors.floats(format!("tower.{number}.dense"), &network.dense);
    tensors.floats(format!("m.{number}.dense"), &state.dense.first);
    tensors.floats(format!("v.{number}.dense"), &state.dense.second);
}

/// What a checkpoint holds, found before it is written.
struct Contents {
    kept: Vec<Arc<Weights>>,
}

impl Contents {
    fn of(training: &Checkpointed<'_>) -> Contents {
        Contents {
            kept: unique_weights(&training.best.slots),
        }
    }

    /// Adds all but the table rows.
    fn add_dense<'a>(&'a self, training: &'a Checkpointed<'_>, tensors: &mut Tensors<'a>) {
        let states = &training.optimizers.networks;
        let networks = training.model.networks().iter().zip(states);
        for (t, (network, state)) in networks.enumerate() {
            add_network(tensors, t, (network, state));
        }
        let averages = training.averages.iter();
        let averages = averages.flat_map(|averages| &averages.networks);
        for (t, average) in averages.enumerate() {
            tensors.floats(format!("average.{t}.dense"), average);
        }
        for (task, found) in training.gradients.iter().enumerate() {
            tensors.floats(format!("gradients.{task}.sums"), &found.sums);
            tensors.floats(format!("gradients.{task}.squares"), &found.squares);
        }
        for (i, weights) in self.kept.iter().enumerate() {
            tensors.floats(format!("best.{i}.dense"), &weights.dense);
        }
    }

    /// Adds the table rows.
    fn add_rows<'a>(&'a self, training: &'a Checkpointed<'_>, tensors: &mut Tensors<'a>) {
        let states = &training.optimizers.networks;
        let networks = training.model.networks().iter().zip(states);
        for (t, of_network) in networks.enumerate() {
            tables::add_rows(tensors, t, of_network);
        }
        for (i, weights) in self.kept.iter().enumerate() {
            tensors.rows(&format!("best.{i}"), weights);
        }
    }

    fn state(&self, training: &Checkpointed<'_>) -> SavedState {
        let network = |state: &NetworkState| SavedNetwork {
            steps: state.steps,
            counts: state.counts.clone(),
        };
        let slots = training.best.slots.iter();
        SavedState {
            state: training.progress.clone(),
            networks: training.optimizers.networks.iter().map(network).collect(),
            best: slots.map(|slot| saved_best(slot, &self.kept)).collect(),
            n_weights: self.kept.len(),
        }
    }

    /// Writes the file at `path`: all of it, or all but the table rows where these are in shards.
    fn write(
        &self,
        training: &Checkpointed<'_>,
        path: &Path,
        (run, phase): (&str, &str),
        shards: Option<&ShardSet>,
    ) -> Result<(), TrainError> {
        let mut tensors = Tensors::default();
        self.add_dense(training, &mut tensors);
        if shards.is_none() {
            self.add_rows(training, &mut tensors);
        }
        let state = serde_json::to_string(&self.state(training)).expect("a state is plain data");
        let pairs = [
            ("format", FORMAT),
            ("run", run),
            ("phase", phase),
            ("state", &state),
            ("optimizers", &training.optimizers.kinds()),
        ];
        let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let shards_metadata = shards.into_iter().flat_map(ShardSet::metadata);
        let metadata = metadata.into_iter().chain(shards_metadata).collect();
        tensors.write(path, &metadata)?;
        shards::delete_others(path, shards);
        Ok(())
    }

    /// Writes the table rows of a share.
    fn write_shard(
        &self,
        training: &Checkpointed<'_>,
        path: &Path,
        shards: &ShardSet,
    ) -> Result<(), TrainError> {
        let mut tensors = Tensors::default();
        self.add_rows(training, &mut tensors);
        Ok(tensors.write(path, &shards.metadata().into())?)
    }
}

/// Writes a checkpoint of the current state of a training, of this run and phase: the first rank all of it, or each rank
/// the table rows that it holds, and then the first rank the rest.
///
/// # Errors
/// A rank cannot write; the previous checkpoint then stays, on all ranks.
pub(crate) fn save(
    training: Checkpointed<'_>,
    path: &Path,
    owner: (&str, &str),
    ranks: Ranks<'_>,
) -> Result<(), TrainError> {
    let states = &mut training.optimizers.networks;
    for (network, state) in training.model.networks().iter().zip(states) {
        let tables = state.tables.iter_mut().zip(&network.tables);
        tables.for_each(|(moments, table)| moments.follow(table));
    }
    let training = &training;
    let Some(share) = ranks.table_share() else {
        return ranks.on_first(|| Contents::of(training).write(training, path, owner, None));
    };
    let contents = Contents::of(training);
    let shards = ShardSet::new(share.of, owner, training.progress.step);
    let own = shards.path(path, share.index);
    ranks.all_done(contents.write_shard(training, &own, &shards))?;
    ranks.on_first(|| contents.write(training, path, owner, Some(&shards)))
}

/// The checkpoint at `path`, if there is one of this run and phase; mapped where the storage is in files.
pub(crate) fn open(
    path: &Path,
    (run, phase): (&str, &str),
    storage: &TableStorage,
) -> Result<Option<Saved>, TrainError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = read(path, storage)?;
    if file.metadata("run") != Some(run) || file.metadata("phase") != Some(phase) {
        return Ok(None);
    }
    if file.metadata("format") != Some(FORMAT) {
        let what = "it was written by another version of the program";
        return Err(unfit(path, what.to_owned()));
    }
    let state = serde_json::from_str(file.metadata("state").unwrap_or_default());
    let state = state.map_err(|error| unfit(path, format!("its state is unreadable: {error}")))?;
    let metadata = path.metadata().and_then(|metadata| metadata.modified());
    Ok(Some(Saved {
        time: metadata.ok(),
        path: path.to_owned(),
        file,
        state,
        storage: storage.clone(),
    }))
}

/// The checkpoint at `path` of whatever run and phase, if there is one of this version.
pub(crate) fn open_any(path: &Path, storage: &TableStorage) -> Option<Saved> {
    let file = read(path, storage).ok()?;
    (file.metadata("format") == Some(FORMAT)).then_some(())?;
    let state = serde_json::from_str(file.metadata("state")?).ok()?;
    Some(Saved {
        time: None,
        path: path.to_owned(),
        file,
        state,
        storage: storage.clone(),
    })
}

/// Fills numbers from a tensor of the same length; `None` if there is none.
pub(crate) fn fill_from(saved: &Saved, name: &str, numbers: &mut [f32]) -> Option<()> {
    fill(numbers, saved.file.f32_values(name).ok()?)
}

/// Restores the saved state into a new trainer. Of table rows, each rank takes those that it holds, whatever ranks have
/// written them.
pub(crate) fn restore(
    training: Checkpointed<'_>,
    saved: &Saved,
    ranks: Ranks<'_>,
) -> Result<(), TrainError> {
    let other = || unfit(&saved.path, "it belongs to another network".to_owned());
    for t in 0..training.model.networks().len() {
        let network = training.model.network_mut(t);
        let state = &mut training.optimizers.networks[t];
        let told = saved.state.networks.get(t).ok_or_else(other)?;
        let file = &saved.file;
        state.steps = told.steps;
        fill(&mut state.counts, told.counts.iter().copied()).ok_or_else(other)?;
        for (name, numbers) in [
            ("tower", &mut network.dense),
            ("m", &mut state.dense.first),
            ("v", &mut state.dense.second),
        ] {
            fill(numbers, file.f32_values(&format!("{name}.{t}.dense"))?).ok_or_else(other)?;
        }
        network.tables.iter_mut().for_each(Table::clear);
    }
    let averages = training.averages.into_iter();
    let averages = averages.flat_map(|averages| &mut averages.networks);
    for (t, average) in averages.enumerate() {
        let values = saved.file.f32_values(&format!("average.{t}.dense"))?;
        fill(average, values).ok_or_else(other)?;
    }
    for (task, found) in training.gradients.iter_mut().enumerate() {
        for (what, numbers) in [("sums", &mut found.sums), ("squares", &mut found.squares)] {
            let values = saved.file.f32_values(&format!("gradients.{task}.{what}"))?;
            fill(numbers, values).ok_or_else(other)?;
        }
    }
    let spec = training.model.spec();
    let (n_tables, dim, n_kept) = (spec.tables.len(), spec.plan.dim, saved.state.n_weights);
    let mut rows = KeptRows::new([n_kept, n_tables, dim], &saved.storage);
    let share = ranks.table_share();
    saved.each_table_file(share, |file| {
        let restored = tables::restore_rows(training.model, training.optimizers, file)?;
        saved.storage.check()?;
        restored.ok_or_else(other)?;
        rows.add(file, share)?.ok_or_else(other)
    })?;
    let dense = (0..n_kept).map(|i| saved.file.f32(&format!("best.{i}.dense")));
    let kept = rows.weights(dense.collect::<Result<_, _>>()?)?;
    for (slot, best) in training.best.slots.iter_mut().zip(&saved.state.best) {
        let best = best.as_ref().map(|best| {
            let weights = best.weights.iter().map(|&i| kept.get(i).cloned());
            Some(Best {
                selection_score: best.selection_score,
                step: best.step,
                weights: weights.collect::<Option<_>>()?,
            })
        });
        slot.best = best.map(|best| best.ok_or_else(other)).transpose()?;
    }
    *training.progress = saved.state.state.clone();
    Ok(())
}

fn saved_best(slot: &BestSlot, kept: &[Arc<Weights>]) -> Option<SavedBest> {
    let best = slot.best.as_ref()?;
    let number = |weights: &Arc<Weights>| kept.iter().position(|known| Arc::ptr_eq(known, weights));
    Some(SavedBest {
        selection_score: best.selection_score,
        step: best.step,
        weights: best.weights.iter().filter_map(number).collect(),
    })
}

fn unique_weights(slots: &[BestSlot]) -> Vec<Arc<Weights>> {
    let mut kept: Vec<Arc<Weights>> = Vec::new();
    let all = slots
        .iter()
        .filter_map(|slot| slot.best.as_ref())
        .flat_map(|best| &best.weights);
    for weights in all {
        if !kept.iter().any(|known| Arc::ptr_eq(known, weights)) {
            kept.push(weights.clone());
        }
    }
    kept
}

fn fill<T>(numbers: &mut [T], values: impl ExactSizeIterator<Item = T>) -> Option<()> {
    (values.len() == numbers.len()).then_some(())?;
    numbers
        .iter_mut()
        .zip(values)
        .for_each(|(to, from)| *to = from);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_model::tensor_file;

    fn open_with(format: &[(&str, &str)]) -> Result<Option<Saved>, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let pairs = [("run", "r"), ("phase", "train"), ("state", "{}")];
        let pairs = pairs.iter().chain(format);
        let metadata = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        tensor_file::write(&path, &[], &metadata.collect()).unwrap();
        open(&path, ("r", "train"), &TableStorage::Memory)
    }

    #[test]
    fn a_checkpoint_of_another_version_is_refused() {
        for format in [&[][..], &[("format", "1")]] {
            let error = open_with(format).err().unwrap().to_string();
            assert!(
                error.ends_with("another version of the program; start over with --fresh"),
                "{error}"
            );
        }
        let error = open_with(&[("format", FORMAT)]).err().unwrap().to_string();
        assert!(error.contains("its state is unreadable"), "{error}");
    }
}

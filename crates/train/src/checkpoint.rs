//! Checkpoints for a bit-exact resume: weights, moments, best weights and the position in the data, in one file.
//!
//! Writing needs only a buffer of memory: tensors are written in place, and of embedding tables only the initialised
//! rows. Resuming reads the whole file, then fills tables and moments from it.

use crate::error::TrainError;
use crate::optim::NetworkState;
use crate::slots::{Best, BestSlot};
use crate::trainer::{State, Trainer};
use ncs_model::{
    Entry, Network, PickedRows, SlotRows, SparseRows, Table, TensorFile, TensorFileError, Values,
    Weights, tensor_file,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Decides when a checkpoint is due by the clock: a crash must not cost more than that much work.
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
    /// No checkpoint yet; from now on, one `every` so often.
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

    /// A checkpoint that was begun at `begun` is complete.
    pub(crate) fn note(&mut self, begun: Instant) {
        self.last = Instant::now();
        self.took = self.last - begun;
    }
}

/// Changes with what a checkpoint holds: one of another version is refused.
const FORMAT: &str = "4";

/// Opened checkpoint of the requested phase.
pub(crate) struct Saved {
    path: PathBuf,
    /// Time of writing, if the file system provides it.
    pub(crate) time: Option<SystemTime>,
    file: TensorFile,
    state: SavedState,
}

/// State other than tensors.
#[derive(Debug, Serialize, Deserialize)]
struct SavedState {
    state: State,
    #[serde(rename = "towers")]
    networks: Vec<SavedNetwork>,
    /// For each slot.
    best: Vec<Option<SavedBest>>,
    /// Number of weight sets that the slots refer to.
    n_weights: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedNetwork {
    steps: u64,
    counts: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBest {
    #[serde(rename = "goodness")]
    selection_score: f64,
    step: u64,
    /// Numbers of weight sets.
    weights: Vec<usize>,
}

/// Initialised rows of an embedding table, by number, and the position of each.
struct Drawn {
    ids: Vec<u32>,
    slots: Vec<u32>,
}

impl Drawn {
    fn of(table: &Table<f32>) -> Drawn {
        let ids: Vec<u32> = table.drawn_ids().collect();
        Drawn {
            slots: ids.iter().map(|&id| table.slot(id)).collect(),
            ids,
        }
    }
}

/// Tensors on their way into a file: borrowed, so that writing them takes no second copy.
#[derive(Default)]
pub(crate) struct Tensors<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Tensors<'a> {
    fn add(&mut self, name: String, n_values: usize, values: Values<'a>) {
        self.entries.push(Entry {
            name,
            shape: vec![n_values],
            values,
        });
    }

    fn floats(&mut self, name: String, values: &'a [f32]) {
        self.add(name, values.len(), Values::F32(values));
    }

    /// The weights of a network, under names that begin with `prefix`.
    pub(crate) fn weights(&mut self, prefix: &str, weights: &'a Weights) {
        self.floats(format!("{prefix}.dense"), &weights.dense);
        for (t, table) in weights.tables.iter().enumerate() {
            let ids = Values::U32(&table.ids);
            self.add(format!("{prefix}.table.{t}.ids"), table.ids.len(), ids);
            self.floats(format!("{prefix}.table.{t}.values"), &table.values);
        }
    }

    /// Adds a network and its optimizer in their current state; of embedding tables, only the initialised rows.
    fn network(
        &mut self,
        number: usize,
        network: &'a Network,
        state: &'a NetworkState,
        drawn: &'a [Drawn],
    ) {
        self.floats(format!("tower.{number}.dense"), &network.dense);
        self.floats(format!("m.{number}.dense"), &state.dense.first);
        self.floats(format!("v.{number}.dense"), &state.dense.second);
        let tables = network.tables.iter().zip(&state.tables).zip(drawn);
        for (k, ((table, moments), drawn)) in tables.enumerate() {
            let name = |what: &str| format!("tower.{number}.table.{k}.{what}");
            self.add(name("ids"), drawn.ids.len(), Values::U32(&drawn.ids));
            for (name, rows) in [
                (name("values"), table.rows()),
                (name("moments"), moments.rows()),
            ] {
                let picked = &drawn.slots;
                let n_values = picked.len() * rows.width();
                self.add(name, n_values, Values::F32Rows(PickedRows { rows, picked }));
            }
        }
    }

    /// Writes them beside and renames.
    pub(crate) fn write(
        &self,
        path: &Path,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), TensorFileError> {
        tensor_file::write(path, &self.entries, metadata).map(|_| ())
    }
}

/// The weights that [`Tensors::weights`] wrote.
pub(crate) fn read_weights(
    file: &TensorFile,
    prefix: &str,
    n_tables: usize,
) -> Result<Weights, TensorFileError> {
    let table = |t: usize| {
        Ok(SparseRows {
            ids: file.u32(&format!("{prefix}.table.{t}.ids"))?,
            values: file.f32(&format!("{prefix}.table.{t}.values"))?,
        })
    };
    Ok(Weights {
        dense: file.f32(&format!("{prefix}.dense"))?,
        tables: (0..n_tables)
            .map(table)
            .collect::<Result<_, TensorFileError>>()?,
    })
}

/// Writes all that a trainer is, from where it stands.
pub(crate) fn save(
    trainer: &mut Trainer<'_>,
    path: &Path,
    run: &str,
    phase: &str,
) -> Result<(), TrainError> {
    let states = &mut trainer.optimizers.networks;
    for (network, state) in trainer.model.networks().iter().zip(states) {
        let tables = state.tables.iter_mut().zip(&network.tables);
        tables.for_each(|(moments, table)| moments.follow(table));
    }
    let trainer = &*trainer;
    let mut tensors = Tensors::default();
    let networks = trainer.model.networks();
    let drawn = |network: &Network| network.tables.iter().map(Drawn::of).collect();
    let drawn: Vec<Vec<Drawn>> = networks.iter().map(drawn).collect();
    let states = &trainer.optimizers.networks;
    for (t, (network, state)) in networks.iter().zip(states).enumerate() {
        tensors.network(t, network, state, &drawn[t]);
    }
    let averages = trainer
        .averages
        .iter()
        .flat_map(|averages| &averages.networks);
    for (t, average) in averages.enumerate() {
        tensors.floats(format!("average.{t}.dense"), average);
    }
    for (task, found) in trainer.gradients.iter().enumerate() {
        tensors.floats(format!("gradients.{task}.sums"), &found.sums);
        tensors.floats(format!("gradients.{task}.squares"), &found.squares);
    }
    let kept = unique_weights(&trainer.slots);
    for (i, weights) in kept.iter().enumerate() {
        tensors.weights(&format!("best.{i}"), weights);
    }
    let network = |state: &NetworkState| SavedNetwork {
        steps: state.steps,
        counts: state.counts.clone(),
    };
    let state = SavedState {
        state: trainer.state.clone(),
        networks: states.iter().map(network).collect(),
        best: trainer
            .slots
            .iter()
            .map(|slot| saved_best(slot, &kept))
            .collect(),
        n_weights: kept.len(),
    };
    let state = serde_json::to_string(&state).expect("a state is plain data");
    let pairs = [
        ("format", FORMAT),
        ("run", run),
        ("phase", phase),
        ("state", &state),
    ];
    let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(tensors.write(path, &metadata.into())?)
}

/// The checkpoint at `path`, if there is one of this run and phase.
pub(crate) fn open(path: &Path, run: &str, phase: &str) -> Result<Option<Saved>, TrainError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = read(path)?;
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
    }))
}

/// A file that a run resumes from. One that is damaged costs what it held, and no more.
pub(crate) fn read(path: &Path) -> Result<TensorFile, TrainError> {
    TensorFile::read(path).map_err(|error| match error {
        TensorFileError::Damaged { problem, .. } => TrainError::Damaged {
            path: path.to_owned(),
            what: problem,
        },
        TensorFileError::DamagedTensor { tensor, .. } => TrainError::Damaged {
            path: path.to_owned(),
            what: format!("tensor {tensor:?} does not match its checksum"),
        },
        other => other.into(),
    })
}

/// Makes a fresh trainer what the saved one was.
pub(crate) fn restore(trainer: &mut Trainer<'_>, saved: &Saved) -> Result<(), TrainError> {
    let n_tables = trainer.model.spec().tables.len();
    let other = || unfit(&saved.path, "it is of another network".to_owned());
    for t in 0..trainer.model.networks().len() {
        let network = trainer.model.network_mut(t);
        let state = &mut trainer.optimizers.networks[t];
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
        for (k, (table, moments)) in network.tables.iter_mut().zip(&mut state.tables).enumerate() {
            let name = |what: &str| format!("tower.{t}.table.{k}.{what}");
            let ids = file.u32(&name("ids"))?;
            let values = file.f32_values(&name("values"))?;
            table.restore_drawn(&ids, values).ok_or_else(other)?;
            moments.follow(table);
            let values = file.f32_values(&name("moments"))?;
            fill_rows(moments.rows_mut(), table, &ids, values).ok_or_else(other)?;
        }
    }
    let averages = trainer.averages.iter_mut();
    let averages = averages.flat_map(|averages| &mut averages.networks);
    for (t, average) in averages.enumerate() {
        let values = saved.file.f32_values(&format!("average.{t}.dense"))?;
        fill(average, values).ok_or_else(other)?;
    }
    for (task, found) in trainer.gradients.iter_mut().enumerate() {
        for (what, numbers) in [("sums", &mut found.sums), ("squares", &mut found.squares)] {
            let values = saved.file.f32_values(&format!("gradients.{task}.{what}"))?;
            fill(numbers, values).ok_or_else(other)?;
        }
    }
    let weights = |i| read_weights(&saved.file, &format!("best.{i}"), n_tables).map(Arc::new);
    let kept: Vec<Arc<Weights>> = (0..saved.state.n_weights)
        .map(weights)
        .collect::<Result<_, _>>()?;
    for (slot, best) in trainer.slots.iter_mut().zip(&saved.state.best) {
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
    trainer.state = saved.state.state.clone();
    Ok(())
}

/// Makes the folder that a file is to lie in.
pub(crate) fn make_folder_of(path: &Path) -> Result<(), TrainError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| TrainError::Folder {
        path: folder.to_owned(),
        source,
    })
}

pub(crate) fn unfit(path: &Path, what: String) -> TrainError {
    TrainError::Unfit {
        path: path.to_owned(),
        what,
    }
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

/// Fills the rows that belong to these rows of a table.
fn fill_rows(
    rows: &mut SlotRows<f32>,
    table: &Table<f32>,
    ids: &[u32],
    mut values: impl ExactSizeIterator<Item = f32>,
) -> Option<()> {
    (values.len() == ids.len() * rows.width()).then_some(())?;
    for &id in ids {
        let row = rows.row_mut(table.slot(id)).iter_mut();
        row.zip(&mut values).for_each(|(to, from)| *to = from);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_with(format: &[(&str, &str)]) -> Result<Option<Saved>, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let pairs = [("run", "r"), ("phase", "train"), ("state", "{}")];
        let pairs = pairs.iter().chain(format);
        let metadata = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        tensor_file::write(&path, &[], &metadata.collect()).unwrap();
        open(&path, "r", "train")
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

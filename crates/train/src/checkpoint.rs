//! Stop and go on, bit for bit: weights, moments, best weights and the place in the data, in one file.

use crate::error::TrainError;
use crate::optim::Moments;
use crate::trainer::{Best, Slot, State, Trainer};
use ncs_model::{Entry, SparseRows, TensorFile, TensorFileError, Values, Weights, tensor_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened checkpoint of the phase that asked for it.
pub(crate) struct Saved {
    path: PathBuf,
    file: TensorFile,
    state: SavedState,
}

/// What is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct SavedState {
    state: State,
    towers: Vec<SavedTower>,
    /// For each slot.
    best: Vec<Option<SavedBest>>,
    /// Number of weight sets that the slots refer to.
    n_weights: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedTower {
    steps: u64,
    counts: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBest {
    goodness: f64,
    step: u64,
    /// Numbers of weight sets.
    weights: Vec<usize>,
}

/// Tensors on their way into a file.
#[derive(Default)]
pub(crate) struct Tensors {
    names: Vec<String>,
    floats: Vec<Vec<f32>>,
    ids: Vec<Option<Vec<u32>>>,
}

impl Tensors {
    fn floats(&mut self, name: String, values: Vec<f32>) {
        self.names.push(name);
        self.floats.push(values);
        self.ids.push(None);
    }

    fn ids(&mut self, name: String, ids: Vec<u32>) {
        self.names.push(name);
        self.floats.push(Vec::new());
        self.ids.push(Some(ids));
    }

    /// The weights of a tower, under names that begin with `prefix`.
    pub(crate) fn weights(&mut self, prefix: &str, weights: Weights) {
        self.floats(format!("{prefix}.dense"), weights.dense);
        for (t, table) in weights.tables.into_iter().enumerate() {
            self.ids(format!("{prefix}.table.{t}.ids"), table.ids);
            self.floats(format!("{prefix}.table.{t}.values"), table.values);
        }
    }

    /// Writes them beside and renames.
    pub(crate) fn write(
        &self,
        path: &Path,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), TensorFileError> {
        let entry = |i: usize| {
            let values = match &self.ids[i] {
                Some(ids) => Values::U32(ids),
                None => Values::F32(&self.floats[i]),
            };
            let len = self.ids[i].as_ref().map_or(self.floats[i].len(), Vec::len);
            Entry {
                name: self.names[i].clone(),
                shape: vec![len],
                values,
            }
        };
        let entries: Vec<Entry<'_>> = (0..self.names.len()).map(entry).collect();
        tensor_file::write(path, &entries, metadata).map(|_| ())
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

/// Writes all that a trainer is.
pub(crate) fn save(
    trainer: &Trainer<'_>,
    path: &Path,
    run: &str,
    phase: &str,
) -> Result<(), TrainError> {
    let mut tensors = Tensors::default();
    for (t, tower) in trainer.model.towers().iter().enumerate() {
        let weights = tower.weights();
        let state = &trainer.optimizers.towers[t];
        tensors.floats(format!("m.{t}.dense"), state.dense.first.clone());
        tensors.floats(format!("v.{t}.dense"), state.dense.second.clone());
        for (k, (moments, rows)) in state.tables.iter().zip(&weights.tables).enumerate() {
            let dim = tower.tables[k].dim();
            tensors.floats(
                format!("m.{t}.table.{k}"),
                of_rows(&moments.first, &rows.ids, dim),
            );
            tensors.floats(
                format!("v.{t}.table.{k}"),
                of_rows(&moments.second, &rows.ids, dim),
            );
        }
        tensors.weights(&format!("tower.{t}"), weights);
    }
    let kept = unique_weights(&trainer.slots);
    for (i, weights) in kept.iter().enumerate() {
        tensors.weights(&format!("best.{i}"), Weights::clone(weights));
    }
    let tower = |state: &crate::optim::TowerState| SavedTower {
        steps: state.steps,
        counts: state.counts.clone(),
    };
    let state = SavedState {
        state: trainer.state.clone(),
        towers: trainer.optimizers.towers.iter().map(tower).collect(),
        best: trainer
            .slots
            .iter()
            .map(|slot| saved_best(slot, &kept))
            .collect(),
        n_weights: kept.len(),
    };
    let state = serde_json::to_string(&state).expect("a state is plain data");
    let pairs = [("run", run), ("phase", phase), ("state", &state)];
    let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(tensors.write(path, &metadata.into())?)
}

/// The checkpoint at `path`, if there is one of this run and phase.
pub(crate) fn open(path: &Path, run: &str, phase: &str) -> Result<Option<Saved>, TrainError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = TensorFile::read(path)?;
    if file.metadata("run") != Some(run) || file.metadata("phase") != Some(phase) {
        return Ok(None);
    }
    let state = serde_json::from_str(file.metadata("state").unwrap_or_default());
    let state = state.map_err(|error| unfit(path, format!("its state is unreadable: {error}")))?;
    Ok(Some(Saved {
        path: path.to_owned(),
        file,
        state,
    }))
}

/// Makes a fresh trainer what the saved one was.
pub(crate) fn restore(trainer: &mut Trainer<'_>, saved: &Saved) -> Result<(), TrainError> {
    let n_tables = trainer.model.spec().tables.len();
    let other = || unfit(&saved.path, "it is of another network".to_owned());
    for t in 0..trainer.model.towers().len() {
        let weights = read_weights(&saved.file, &format!("tower.{t}"), n_tables)?;
        trainer
            .model
            .tower_mut(t)
            .restore(&weights)
            .ok_or_else(other)?;
        let state = &mut trainer.optimizers.towers[t];
        let told = saved.state.towers.get(t).ok_or_else(other)?;
        state.steps = told.steps;
        state.counts.clone_from(&told.counts);
        let dense = Moments {
            first: saved.file.f32(&format!("m.{t}.dense"))?,
            second: saved.file.f32(&format!("v.{t}.dense"))?,
        };
        if dense.first.len() != state.dense.first.len() || dense.second.len() != dense.first.len() {
            return Err(other());
        }
        state.dense = dense;
        for (k, rows) in weights.tables.iter().enumerate() {
            let dim = trainer.model.tower(t).tables[k].dim();
            let moments = &mut state.tables[k];
            let first = saved.file.f32(&format!("m.{t}.table.{k}"))?;
            let second = saved.file.f32(&format!("v.{t}.table.{k}"))?;
            put_rows(&mut moments.first, &rows.ids, &first, dim).ok_or_else(other)?;
            put_rows(&mut moments.second, &rows.ids, &second, dim).ok_or_else(other)?;
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
                goodness: best.goodness,
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

fn saved_best(slot: &Slot, kept: &[Arc<Weights>]) -> Option<SavedBest> {
    let best = slot.best.as_ref()?;
    let number = |weights: &Arc<Weights>| kept.iter().position(|known| Arc::ptr_eq(known, weights));
    Some(SavedBest {
        goodness: best.goodness,
        step: best.step,
        weights: best.weights.iter().filter_map(number).collect(),
    })
}

fn unique_weights(slots: &[Slot]) -> Vec<Arc<Weights>> {
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

fn of_rows(values: &[f32], ids: &[u32], dim: usize) -> Vec<f32> {
    let row = |&id: &u32| &values[id as usize * dim..(id as usize + 1) * dim];
    ids.iter().flat_map(row).copied().collect()
}

fn put_rows(values: &mut [f32], ids: &[u32], rows: &[f32], dim: usize) -> Option<()> {
    (rows.len() == ids.len() * dim).then_some(())?;
    for (&id, row) in ids.iter().zip(rows.chunks_exact(dim)) {
        values[id as usize * dim..(id as usize + 1) * dim].copy_from_slice(row);
    }
    Some(())
}

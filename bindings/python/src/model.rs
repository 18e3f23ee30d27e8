//! Trained model: predictions, evaluation, inspection.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ncs_experiments::importance::{self, ImportanceSettings};
use ncs_experiments::scoring::{self, EvaluationListener, LoadedModel};
use ncs_experiments::sharing;
use ncs_experiments::{inspection, onnx};
use ncs_export::EXTERNAL_OVER;
use ncs_features::{Encoder, IdSpace};
use ncs_model::artifact::Artifact;
use ncs_model::{Mask, Precision, Workspace};
use ncs_readers::Lookup;
use ncs_serve::version::Version;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::Failure;
use crate::frames::Data;
use crate::table::{Table, wrong};
use crate::{export, json, rank, work};

/// Number of idle workspaces that a model keeps for later calls.
const KEPT_PASSES: usize = 8;

/// Loaded model; several threads may use it at once.
#[pyclass(frozen, module = "ncs4cvr._core")]
pub(crate) struct Model {
    loaded: LoadedModel,
    hash: String,
    /// Files of features by id, for rows without these features.
    lookups: Vec<Lookup>,
    /// Idle workspaces with their numbers of threads.
    passes: Mutex<Vec<(usize, Workspace)>>,
    /// Serving version of the model, created by the first request.
    version: OnceLock<Version>,
}

/// Embedding table rows: row numbers, vectors `[rows, dim]`, and the vocabulary values of the rows where there is a
/// vocabulary.
type Embeddings<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray2<f32>>,
    Option<Vec<Option<String>>>,
);

impl Model {
    fn encoder(&self) -> Encoder {
        Encoder::new(self.loaded.schema().clone())
    }

    fn version(&self) -> &Version {
        let made = || {
            Version::new(
                self.loaded.scorer.clone(),
                &Arc::from("model"),
                1,
                &self.hash,
            )
        };
        self.version.get_or_init(made)
    }

    /// Runs `work` with a workspace of `threads` threads.
    fn with_pass<T>(&self, threads: Option<usize>, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = threads.unwrap_or_else(cores).max(1);
        let mut pass = self
            .idle_pass(threads)
            .unwrap_or_else(|| Workspace::new(threads));
        let done = work(&mut pass);
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.len() < KEPT_PASSES {
            passes.push((threads, pass));
        }
        done
    }

    fn idle_pass(&self, threads: usize) -> Option<Workspace> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let at = passes.iter().position(|(known, _)| *known == threads)?;
        Some(passes.swap_remove(at).1)
    }

    /// Returns the index of a feature's embedding table.
    fn table_of(&self, feature: &str) -> Result<usize, Failure> {
        let fields = &self.loaded.schema().fields;
        let found = fields
            .iter()
            .find(|field| field.name == feature || field.column == feature);
        found.map(|field| field.table).ok_or_else(|| {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            Failure::new(
                "ModelError",
                format!("no feature {feature:?}; there are {}", known.join(", ")),
            )
        })
    }

    /// Returns the index of the weight set that scores a task; the first one if `task` is `None`.
    fn weight_set_of(&self, task: Option<&str>) -> Result<usize, Failure> {
        let tasks = &self.loaded.artifact.spec.tasks;
        let place = match task {
            None => Some(0),
            Some(task) => tasks.iter().position(|known| known == task),
        };
        place
            .map(|place| self.loaded.artifact.of_task[place])
            .ok_or_else(|| {
                let task = task.unwrap_or_default();
                Failure::new(
                    "ModelError",
                    format!("no task {task:?}; there are {}", tasks.join(", ")),
                )
            })
    }
}

#[pymethods]
impl Model {
    /// Reads the model in `path`; `path` may also be a run folder. `lookup` names files of features by their column of ids.
    #[staticmethod]
    #[pyo3(signature = (path, lookup=Vec::new()))]
    fn load(py: Python<'_>, path: PathBuf, lookup: Vec<(String, PathBuf)>) -> PyResult<Model> {
        work::run(py, |_| {
            let loaded = LoadedModel::open(&path)?;
            let hash = Artifact::hash(&loaded.folder)?.to_hex().to_string();
            let lookups = scoring::lookups([&*loaded.artifact], &lookup);
            Ok(Model {
                loaded,
                hash,
                lookups,
                passes: Mutex::default(),
                version: OnceLock::new(),
            })
        })
    }

    /// Folder of the model.
    #[getter]
    fn path(&self) -> String {
        self.loaded.folder.display().to_string()
    }

    /// BLAKE3 hash of the manifest, in hex.
    #[getter]
    fn hash(&self) -> &str {
        &self.hash
    }

    /// Names of the score columns: the tasks, then their product if there is one.
    #[getter]
    fn outputs(&self) -> Vec<String> {
        self.loaded.outputs()
    }

    /// Columns that the features read, without duplicates.
    #[getter]
    fn columns(&self) -> Vec<String> {
        rank::columns(self.loaded.schema())
    }

    /// Scores all rows in order, as `ncs score` does.
    #[pyo3(signature = (data, threads=None))]
    fn predict(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        threads: Option<usize>,
    ) -> PyResult<Table> {
        work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
        let data = Data::of(data, "frame")?;
        let outputs = self.loaded.outputs();
        let mut all: Vec<Vec<f32>> = vec![Vec::new(); outputs.len()];
        work::run(py, |stop| {
            let rows = data.rows(&self.lookups)?;
            scoring::check_looked_up(&self.loaded, &rows)?;
            let mut encoded = rows.encoded(self.encoder(), false, &[])?;
            self.with_pass(threads, |pass| {
                scoring::score(
                    &self.loaded,
                    &mut encoded,
                    pass,
                    Precision::Single,
                    stop,
                    |_, scores| {
                        for (all, scores) in all.iter_mut().zip(scores) {
                            all.extend(scores);
                        }
                        Ok(())
                    },
                )
            })?;
            Ok(())
        })?;
        Table::of_scores(&outputs, all).map_err(wrong)
    }

    /// Evaluates the model on labelled rows; returns the JSON of `ncs evaluate --json`.
    #[pyo3(signature = (data, slices=Vec::new(), threads=None))]
    fn evaluate(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        slices: Vec<String>,
        threads: Option<usize>,
    ) -> PyResult<Py<PyAny>> {
        work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
        let data = Data::of(data, "frame")?;
        let value = work::run(py, |stop| {
            let rows = data.rows(&self.lookups)?;
            let evaluation = self.with_pass(threads, |pass| {
                silently(|listener| {
                    scoring::evaluate(&self.loaded, rows, &slices, pass, stop, listener)
                })
            })?;
            json::text(&evaluation)
        })?;
        json::to_python(py, &value)
    }

    /// Measures what each column is worth to the model; returns the JSON of `ncs importance --json`.
    #[pyo3(signature = (data, sample, repeats, seed, threads=None))]
    fn importance(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        sample: usize,
        repeats: usize,
        seed: u64,
        threads: Option<usize>,
    ) -> PyResult<Py<PyAny>> {
        work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
        let data = Data::of(data, "frame")?;
        let settings = ImportanceSettings {
            rows: sample.max(1),
            repeats: repeats.max(1),
            seed,
        };
        let value = work::run(py, |stop| {
            let rows = data.rows(&self.lookups)?;
            let found = self.with_pass(threads, |pass| {
                let none = &mut |_, _| {};
                silently(|listener| {
                    importance::measure(&self.loaded, rows, settings, pass, stop, listener, none)
                })
            })?;
            json::text(&found)
        })?;
        json::to_python(py, &value)
    }

    /// Scores the candidates of one context, as a server does. Returns the best `top_k`, best first, by the output
    /// `by`, with their positions in `index`.
    #[pyo3(signature = (context, candidates, top_k=None, by=None))]
    fn rank(
        &self,
        py: Python<'_>,
        context: &Bound<'_, PyAny>,
        candidates: &Bound<'_, PyAny>,
        top_k: Option<usize>,
        by: Option<String>,
    ) -> PyResult<Table> {
        work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
        let context = rank::wanted(context, "context")?;
        let candidates = rank::wanted(candidates, "candidates")?;
        let outputs = self.loaded.outputs();
        let (index, scores) = work::run(py, |stop| {
            rank::rank(
                self.version(),
                context,
                candidates,
                rank::Best { top_k, by },
                stop,
            )
        })?;
        let table = Table::of_scores(&outputs, scores).map_err(wrong)?;
        table.with_front("index", index).map_err(wrong)
    }

    /// Returns the inputs of the exported model for all rows, as arrays by name.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        work::refuse_after_fork().map_err(|failure| failure.raised(py))?;
        let data = Data::of(data, "frame")?;
        let tensors = work::run(py, |stop| {
            export::encode(&self.loaded, data, &self.lookups, stop)
        })?;
        export::arrays(py, tensors)
    }

    /// Writes the model as ONNX; returns the paths of its files, the model last. Constants of more than
    /// `external_over` bytes are written to a second file.
    #[pyo3(signature = (path, external_over=None))]
    fn export(
        &self,
        py: Python<'_>,
        path: PathBuf,
        external_over: Option<u64>,
    ) -> PyResult<Vec<PathBuf>> {
        let over = external_over.unwrap_or(EXTERNAL_OVER);
        let exported = work::run(py, |_| Ok(onnx::write(&self.loaded, &path, over)?))?;
        Ok(exported.files.into_iter().map(|(path, _)| path).collect())
    }

    /// Returns the JSON of `ncs inspect --json`.
    fn inspect(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let value = work::run(py, |_| json::text(&inspection::summary(&self.loaded)))?;
        json::to_python(py, &value)
    }

    /// Returns the text of `ncs inspect`.
    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        work::run(py, |_| Ok(inspection::text(&self.loaded)?))
    }

    /// Returns the vectors of the rows of a feature's table that training has seen; `task` selects the weight set if
    /// each task has its own.
    #[pyo3(signature = (feature, task=None))]
    fn embeddings<'py>(
        &self,
        py: Python<'py>,
        feature: &str,
        task: Option<&str>,
    ) -> PyResult<Embeddings<'py>> {
        let find = || Ok((self.table_of(feature)?, self.weight_set_of(task)?));
        let (table, member) = find().map_err(|failure: Failure| failure.raised(py))?;
        let artifact = &self.loaded.artifact;
        let rows = &artifact.weight_sets[member].weights.tables[table];
        let dim = artifact.spec.plan.dim;
        let vectors = PyArray1::from_slice(py, &rows.values).reshape([rows.ids.len(), dim])?;
        let texts = match &artifact.schema.tables[table].ids {
            IdSpace::Vocabulary { values } => {
                let text = |id: &u32| values.get((*id as usize).checked_sub(2)?).cloned();
                Some(rows.ids.iter().map(text).collect())
            }
            _ => None,
        };
        Ok((PyArray1::from_slice(py, &rows.ids), vectors, texts))
    }

    /// Returns the masks by task, then by layer: the connections that the task keeps, `[inputs, outputs]`. Empty
    /// without masks.
    fn masks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let by_task = PyDict::new(py);
        let artifact = &self.loaded.artifact;
        let Some(masks) = artifact.masks.as_deref() else {
            return Ok(by_task);
        };
        let layers = sharing::layers(&artifact.spec, Some(masks));
        for (task, masks) in artifact.spec.tasks.iter().zip(&masks.tasks) {
            let by_layer = PyDict::new(py);
            for (layer, mask) in layers.iter().zip(masks) {
                by_layer.set_item(&layer.name, array(py, mask)?)?;
            }
            by_task.set_item(task, by_layer)?;
        }
        Ok(by_task)
    }

    /// Returns the tasks: name, label, and the task on whose positives each is defined.
    fn tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names = self
            .loaded
            .schema()
            .tasks
            .iter()
            .map(|task| task.name.as_str());
        PyList::new(py, names.collect::<Vec<_>>())
    }
}

/// Calls `evaluate` with a listener that ignores everything.
fn silently<T>(evaluate: impl FnOnce(&mut EvaluationListener<'_>) -> T) -> T {
    evaluate(&mut EvaluationListener {
        note: &mut |_| {},
        advance: &mut |_| {},
        finish: &mut |_| Ok(()),
    })
}

fn array<'py>(py: Python<'py>, mask: &Mask) -> PyResult<Bound<'py, PyArray2<bool>>> {
    let bools = PyArray1::from_vec(py, mask.to_bools());
    bools.reshape([mask.inputs(), mask.outputs()])
}

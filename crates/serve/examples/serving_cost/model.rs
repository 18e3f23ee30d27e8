//! The model of the paper's size with random weights and masks: as an artifact, and as plain arrays for the
//! compared runtime, with the ids of all requests and our scores of them.

use crate::arguments::Flags;
use crate::scorer::PreparedRanker;
use crate::workload::{self, Form, LIST_LENGTH, N_CANDIDATES, N_SINGLE, Request};
use ncs_features::{Batch, FieldIds};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    CounterRng, Gram, LayerLayout, Mask, Masks, Model, NetworkKind, NetworkPlan, Scorer, Spec,
    masks,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DENSITY: f64 = 0.2;

/// Writes `--out`/model and `--out`/peer.
pub(crate) fn write(flags: &Flags) -> Result<Value, String> {
    let out: PathBuf = flags.required("out")?;
    let density = flags.or("density", DENSITY)?;
    let model = random_model(density);
    let artifact = artifact(&model);
    let written = artifact.write(&out.join("model"));
    written.map_err(|error| error.to_string())?;
    let peer = out.join("peer");
    let arrays = Arrays(&peer);
    let done = fs::create_dir_all(&peer)
        .and_then(|()| arrays.write_network(&model))
        .and_then(|()| arrays.write_requests(&artifact));
    done.map_err(|error| format!("{}: {error}", peer.display()))?;
    Ok(json!({
        "what": "model",
        "density": density,
        "requests": workload::N_REQUESTS,
        "candidates": N_CANDIDATES,
        "layers": model.spec().layer_shapes(),
        "kept": kept(&model),
    }))
}

/// Creates a model with all weights and rows initialised and random masks.
fn random_model(density: f64) -> Model {
    let plan = NetworkPlan {
        kind: NetworkKind::SparseSharing,
        dim: 16,
        hidden: vec![512, 256, 128],
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.3),
        heads: ncs_model::Heads::default(),
    };
    let spec = Spec::of(&workload::schema(), &plan);
    let shapes = spec.layer_shapes();
    let mut model = Model::new(spec, CounterRng::new(1, "weights"));
    model.network_mut(0).init_all_rows();
    let mask = |task| masks::random(&shapes, density, CounterRng::new(task, "mask"));
    model.set_masks(Some(Arc::new(Masks {
        tasks: vec![mask(0), mask(1)],
        owners: None,
    })));
    model
}

fn artifact(model: &Model) -> Artifact {
    Artifact {
        masks: model.masks().cloned(),
        ..Artifact::new(
            Arc::new(workload::schema()),
            (**model.spec()).clone(),
            vec![0, 0],
            vec![WeightSet {
                network: 0,
                weights: Arc::new(model.network(0).weights()),
            }],
        )
    }
}

/// Returns the share of connections that each task keeps.
fn kept(model: &Model) -> Vec<f64> {
    let masks = model.masks().map(|masks| masks.tasks.iter());
    let tasks = masks.into_iter().flatten();
    tasks.map(|mask| masks::density(mask)).collect()
}

/// Files of raw little-endian numbers.
struct Arrays<'a>(&'a Path);

impl Arrays<'_> {
    /// Writes all tables, concatenated; each task's layers as dense weights `[inputs, outputs]` with zeros
    /// where pruned, and biases.
    fn write_network(&self, model: &Model) -> std::io::Result<()> {
        let network = model.network(0);
        let mut table = Vec::new();
        for part in &network.tables {
            let rows = 0..part.n_rows() as u32;
            rows.for_each(|id| table.extend_from_slice(part.row(id)));
        }
        self.floats("table", &table)?;
        let masks = model.masks().map(|masks| masks.tasks.as_slice());
        for (task, mask) in masks.unwrap_or_default().iter().enumerate() {
            for (l, (layer, mask)) in network.layout.layers.iter().zip(mask).enumerate() {
                self.layer(&format!("{task}.{l}"), layer, Some(mask), &network.dense)?;
            }
            let head = &network.layout.heads[task];
            self.layer(&format!("{task}.head"), head, None, &network.dense)?;
        }
        Ok(())
    }

    fn layer(
        &self,
        name: &str,
        layer: &LayerLayout,
        mask: Option<&Mask>,
        dense: &[f32],
    ) -> std::io::Result<()> {
        let mut weights = dense[layer.weights.clone()].to_vec();
        for (position, weight) in weights.iter_mut().enumerate() {
            if mask.is_some_and(|mask| !mask.keeps(position)) {
                *weight = 0.0;
            }
        }
        self.floats(&format!("{name}.weights"), &weights)?;
        self.floats(&format!("{name}.bias"), &dense[layer.bias.clone()])
    }

    /// Writes the ids of whole rows, the user's repeated in each: `[request, row, field]` and `[request,
    /// row, list, item]`; and the scores `[request, task, row]`.
    fn write_requests(&self, artifact: &Artifact) -> std::io::Result<()> {
        let scorer = Scorer::new(artifact).expect("its own weights");
        let mut ranker = PreparedRanker::new(&Arc::new(scorer));
        let (mut single, mut lists, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for request in Request::all(N_CANDIDATES) {
            let (context, candidates) = ranker.batches(&request.query(Form::Integers));
            for row in 0..N_CANDIDATES {
                let ids = |field| global_ids(field, row, &context, &candidates);
                (0..N_SINGLE).for_each(|field| single.extend(ids(field)));
                (N_SINGLE..workload::N_FIELDS).for_each(|field| lists.extend(ids(field)));
            }
            let task_scores = ranker.score(&context, &candidates);
            task_scores
                .iter()
                .for_each(|task| scores.extend_from_slice(task));
        }
        assert_eq!(
            single.len() * LIST_LENGTH,
            lists.len() * 3,
            "15 and 5 x 6 ids a row"
        );
        self.integers("single", &single)?;
        self.integers("lists", &lists)?;
        self.floats("scores", &scores)
    }

    fn floats(&self, name: &str, numbers: &[f32]) -> std::io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        fs::write(self.0.join(format!("{name}.f32")), bytes)
    }

    fn integers(&self, name: &str, numbers: &[i64]) -> std::io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        fs::write(self.0.join(format!("{name}.i64")), bytes)
    }
}

/// Returns the ids of a field in one candidate's row, as offsets in the concatenated tables.
fn global_ids(field: usize, row: usize, context: &Batch, candidates: &Batch) -> Vec<i64> {
    let rows_per_table = workload::schema().tables[field].ids.n_rows();
    let ids = |ids: &FieldIds, row| {
        let ids = ids.ids[ids.range(row)].iter();
        ids.map(|&id| (field * rows_per_table) as i64 + i64::from(id))
            .collect()
    };
    if workload::is_user_field(field) {
        ids(&context.fields[field], 0)
    } else {
        ids(&candidates.fields[field], row)
    }
}

//! Tests of models on disk: they are read back bit for bit, and changed files are rejected.

#[path = "artifact/calibration.rs"]
mod calibration;
#[path = "artifact/delta.rs"]
mod delta;
#[path = "artifact/manifest.rs"]
mod manifest;
#[path = "artifact/shards.rs"]
mod shards;

use ncs_features::{
    Batch, Block, Column, Field, FieldIds, HashFunction, IdSpace, Pooling, Schema, Table, Values,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    Calibrator, CounterRng, Masks, Model, Network, NetworkKind, Scorer, SelfTest, Spec, Workspace,
    masks,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

const FILES: [&str; 3] = ["manifest.json", "manifest.json.b3", "weights.safetensors"];
const N_ROWS: usize = 70;
/// Number of ids in a training batch; rows of higher ids are never initialised.
const N_SEEN: u64 = 8;

/// Returns a vocabulary, a hashed list, and a scaled number.
fn schema() -> Schema {
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    use ncs_testkit::task;
    let table = |(name, ids): (&str, IdSpace)| Table {
        name: name.into(),
        ids,
        range: None,
    };
    let values = (0..10).map(|i| format!("wörd {i}")).collect();
    let hash = IdSpace::Hash {
        buckets: 20,
        function: HashFunction::Xxh3,
        unknown: false,
    };
    let scaled = IdSpace::Scaled {
        log: true,
        mean: 0.1,
        deviation: 1.0 / 3.0,
    };
    let tables = [
        ("word", IdSpace::Vocabulary { values }),
        ("tags", hash),
        ("price", scaled),
    ];
    Schema {
        value_rule: ncs_features::ValueRule::Verbatim,
        fields: ["word", "tags", "price"]
            .into_iter()
            .enumerate()
            .map(field)
            .collect(),
        tables: tables.map(table).into(),
        tasks: ["ctr", "cvr"].map(task).into(),
        group: None,
    }
}

/// Returns rows of ids below `n_ids`.
fn batch(seed: u64, n_ids: u64) -> Batch {
    let rng = CounterRng::new(seed, "batch");
    let id = |field: u64, i: usize| (rng.at(field).bits(i as u64) % n_ids) as u32;
    let mut tags = FieldIds {
        offsets: vec![0],
        ..FieldIds::default()
    };
    let mut price = tags.clone();
    for row in 0..N_ROWS {
        tags.ids.extend((0..row % 4).map(|k| id(1, row * 4 + k)));
        tags.offsets.push(tags.ids.len() as u32);
        price.ids.extend([1, 2]);
        price.weights.extend([rng.normal(row as u64) as f32, 1.0]);
        price.offsets.push(price.ids.len() as u32);
    }
    let word = FieldIds {
        ids: (0..N_ROWS).map(|row| id(0, row)).collect(),
        ..FieldIds::default()
    };
    Batch {
        n_rows: N_ROWS,
        fields: vec![word, tags, price],
        ..Batch::default()
    }
}

/// Simulates training: the rows of its batches are initialised, and no weight is zero.
fn train(network: &mut Network, rng: CounterRng) {
    let mut batch = batch(1, N_SEEN);
    // A number, where the network has one beside the columns of the batch.
    batch.fields.push(FieldIds {
        numbers: vec![0.5; 3 * N_ROWS],
        ..FieldIds::of_numbers(3)
    });
    network.init_rows_of(&batch);
    for (weight, i) in network.dense.iter_mut().zip(0..) {
        *weight += rng.normal(i) as f32 * 0.1;
    }
}

fn artifact(kind: NetworkKind) -> Artifact {
    artifact_of(kind, schema())
}

fn artifact_of(kind: NetworkKind, schema: Schema) -> Artifact {
    let plan = ncs_testkit::network(kind, 3, &[6, 5]);
    let schema = Arc::new(schema);
    let spec = Spec::of(&schema, &plan);
    let mut model = Model::new(spec.clone(), CounterRng::new(2, "weights"));
    let mut weight_sets = Vec::new();
    for network in 0..model.networks().len() {
        train(
            model.network_mut(network),
            CounterRng::new(network as u64, "steps"),
        );
        weight_sets.push(WeightSet {
            network,
            weights: Arc::new(model.network(network).weights()),
        });
    }
    let shapes = spec.layer_shapes();
    let mask = |task| masks::random(&shapes, 0.5, CounterRng::new(task, "mask"));
    Artifact {
        masks: (kind == NetworkKind::SparseSharing).then(|| {
            Arc::new(Masks {
                tasks: vec![mask(0), mask(1)],
                owners: None,
            })
        }),
        ..Artifact::new(
            schema,
            spec,
            if weight_sets.len() == 2 {
                vec![0, 1]
            } else {
                vec![0, 0]
            },
            weight_sets,
        )
    }
}

/// Returns two networks, with a weight set each.
fn single_task() -> Artifact {
    artifact(NetworkKind::SingleTask)
}

/// Returns one network whose two tasks are best at different times: two weight sets, and masks.
fn sparse_sharing() -> Artifact {
    let mut artifact = artifact(NetworkKind::SparseSharing);
    let mut model = Model::new(artifact.spec.clone(), CounterRng::new(2, "weights"));
    train(model.network_mut(0), CounterRng::new(9, "steps"));
    artifact.weight_sets.push(WeightSet {
        network: 0,
        weights: Arc::new(model.network(0).weights()),
    });
    artifact.of_task = vec![0, 1];
    artifact
}

/// Returns the bits of all scores of known and unknown ids.
fn scores(artifact: &Artifact) -> Vec<u32> {
    let scorer = Scorer::new(artifact).unwrap();
    let mut workspace = Workspace::new(1);
    let batches = [batch(1, N_SEEN), batch(2, 12)];
    let scores = batches.map(|batch| scorer.score(&batch, &mut workspace).concat());
    let scores = scores.concat();
    assert_eq!(scores.len(), 2 * 2 * N_ROWS);
    assert_ne!(scores[0], scores[1]);
    scores.into_iter().map(f32::to_bits).collect()
}

fn read_error(folder: &Path) -> String {
    Artifact::read(folder).unwrap_err().to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

#[test]
fn scores_are_the_same_after_reading() {
    for artifact in [single_task(), sparse_sharing()] {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        let read = Artifact::read(&folder).unwrap();
        assert_eq!(scores(&read), scores(&artifact));
        assert_eq!(read.schema, artifact.schema);
        assert_eq!((read.spec, read.masks), (artifact.spec, artifact.masks));
        assert_eq!(read.of_task, artifact.of_task);
        for (read, written) in read.weight_sets.iter().zip(&artifact.weight_sets) {
            assert_eq!(
                (read.network, &read.weights),
                (written.network, &written.weights)
            );
        }
    }
}

/// Releases without logit transfer must not read such a model.
#[test]
fn a_logit_transfer_is_kept_and_has_its_own_version() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    let mut artifact = sparse_sharing();
    artifact.spec.plan.heads.takes = Some([0, 1]);
    for weight_set in &mut artifact.weight_sets {
        Arc::make_mut(&mut weight_set.weights)
            .dense
            .extend([0.25, -2.0, 100.0]);
    }
    artifact.write(&folder).unwrap();
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    assert!(manifest.contains("\"version\": 4"));
    let read = Artifact::read(&folder).unwrap();
    assert_eq!(scores(&read), scores(&artifact));
    let ([from, to], taken) = read.taken().unwrap();
    assert_eq!((from, to, taken.kappa, taken.mean), (0, 1, 0.25, -2.0));
    for takes in [[0, 2], [1, 1]] {
        artifact.spec.plan.heads.takes = Some(takes);
        artifact.write(&folder).unwrap();
        assert!(read_error(&folder).contains("its heads are not those of its tasks"));
    }
}

#[test]
fn each_task_uses_its_own_weight_set_and_mask() {
    let artifact = sparse_sharing();
    let whole = scores(&artifact);
    let mut swapped = artifact.clone();
    swapped.of_task = vec![1, 0];
    let mut unmasked = artifact;
    let shapes = unmasked.spec.layer_shapes();
    unmasked.masks = Some(Arc::new(Masks::full(&shapes, 2)));
    assert_ne!(scores(&swapped), whole);
    assert_ne!(scores(&unmasked), whole);
}

#[test]
fn a_changed_byte_is_reported_with_the_name_of_the_file() {
    for artifact in [single_task(), sparse_sharing()] {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        for name in FILES {
            let path = folder.join(name);
            let whole = fs::read(&path).unwrap();
            // A wrong checksum and a wrong manifest cannot be told apart: the manifest is reported.
            let named = name.trim_end_matches(".b3");
            for at in (0..whole.len()).step_by(97) {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                fs::write(&path, changed).unwrap();
                let error = read_error(&folder);
                assert!(error.contains(named), "{name}, byte {at}: {error}");
            }
            fs::write(&path, &whole[..whole.len() - 1]).unwrap();
            assert!(read_error(&folder).contains(named), "{name}, cut off");
            fs::write(&path, whole).unwrap();
        }
        Artifact::read(&folder).unwrap();
    }
}

#[test]
fn weights_of_another_model_are_rejected() {
    let parent = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| parent.path().join(name));
    single_task().write(&a).unwrap();
    let mut other = single_task();
    other.weight_sets.swap(0, 1);
    other.write(&b).unwrap();
    fs::copy(b.join(FILES[2]), a.join(FILES[2])).unwrap();
    let error = read_error(&a);
    assert!(error.contains("not the one in the manifest"), "{error}");
}

#[test]
fn a_missing_file_is_reported_as_no_model() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    assert!(read_error(&folder).contains("no model here"));
    for name in FILES {
        single_task().write(&folder).unwrap();
        fs::remove_file(folder.join(name)).unwrap();
        let error = read_error(&folder);
        assert!(error.contains("no model here"), "{error}");
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn an_existing_folder_is_replaced_without_leftovers() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    single_task().write(&folder).unwrap();
    // Leftovers of an interrupted write.
    for stale in [".model.tmp", ".model.old"] {
        fs::create_dir(parent.path().join(stale)).unwrap();
        fs::write(parent.path().join(stale).join("manifest.json"), "{}").unwrap();
    }
    fs::write(folder.join("notes.txt"), "of the old model").unwrap();
    let artifact = sparse_sharing();
    artifact.write(&folder).unwrap();
    assert_eq!(scores(&Artifact::read(&folder).unwrap()), scores(&artifact));
    assert_eq!(names(&folder), FILES);
    assert_eq!(names(parent.path()), ["model"]);
}

#[test]
fn an_uninitialised_row_is_the_zero_vector_after_reading() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    sparse_sharing().write(&folder).unwrap();
    let read = Artifact::read(&folder).unwrap();
    let mut model: Model = Model::new(read.spec.clone(), CounterRng::new(2, "weights"));
    model.network_mut(0).init_all_rows();
    let network = model.network_mut(0);
    network.restore(&read.weight_sets[0].weights).unwrap();
    for (table, unknown) in [(&network.tables[0], 8..12), (&network.tables[1], 8..21)] {
        for id in 0..table.n_rows() as u32 {
            assert_eq!(table.is_initialised(id), !unknown.contains(&id));
            assert_eq!(table.row(id) == [0.0; 3], unknown.contains(&id), "row {id}");
        }
    }

    let scorer = Scorer::new(&read).unwrap();
    let mut rows = batch(1, N_SEEN);
    let mut score = |word: u32| {
        rows.fields[0].ids.fill(word);
        scorer.score(&rows, &mut Workspace::new(1))
    };
    assert_eq!(score(8), score(11), "unknown words score the same");
    assert_ne!(score(8), score(7));
}

/// Returns raw rows of the schema's columns, with one number each.
fn rows(artifact: &Artifact) -> Block {
    let column = |field: &Field| Column {
        name: field.column.clone(),
        values: Values::Int((0..5).collect()),
        ..Column::default()
    };
    let mut columns: Vec<Column> = Vec::new();
    for field in &artifact.schema.fields {
        if columns.iter().all(|column| column.name != field.column) {
            columns.push(column(field));
        }
    }
    Block { n_rows: 5, columns }
}

/// Returns a model with a calibrator for the second task, and a self-test.
fn complete() -> Artifact {
    let mut artifact = sparse_sharing();
    let platt = Calibrator::Platt {
        slope: 0.5,
        offset: -1.0,
    };
    artifact.calibrators = vec![None, Some(platt)];
    let scorer = Scorer::new(&artifact).unwrap();
    artifact.self_test = SelfTest::record(&scorer, &rows(&artifact));
    assert!(artifact.self_test.is_some());
    artifact
}

#[test]
fn an_unused_weight_set_is_ignored() {
    let mut artifact = single_task();
    let scores_before = scores(&artifact);
    artifact.weight_sets.push(artifact.weight_sets[0].clone());
    assert_eq!(scores(&artifact), scores_before);
}

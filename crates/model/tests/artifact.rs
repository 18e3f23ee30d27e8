//! A model on disk: what is written comes back bit for bit, and what was changed is refused.

use ncs_features::coverage::Shares;
use ncs_features::{
    Batch, Block, Column, Field, FieldIds, HashFunction, IdSpace, Objective, Pooling, Population,
    Schema, Table, Task, Values,
};
use ncs_model::artifact::{Artifact, WeightSet};
use ncs_model::{
    Calibrator, CounterRng, Gram, Masks, Model, Network, NetworkKind, NetworkPlan, Scorer,
    SelfTest, Spec, Workspace, masks,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

const FILES: [&str; 3] = ["manifest.json", "manifest.json.b3", "weights.safetensors"];
const N_ROWS: usize = 70;
/// Ids that a batch of the training shows; those above are never drawn.
const N_DRAWN: u64 = 8;

/// A vocabulary, a hashed list, and a scaled number.
fn schema() -> Schema {
    let field = |(table, name): (usize, &str)| Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: (name == "tags").then_some(Pooling::Mean),
        separator: None,
        max_values: None,
        missing: vec![],
    };
    let task = |name: &str| Task {
        name: name.into(),
        label: name.into(),
        population: Population::All,
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
    };
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

/// Rows of ids below `n_ids`.
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

/// As after a training: the rows of its batches are drawn, and nothing is zero any more.
fn train(network: &mut Network, rng: CounterRng) {
    network.touch(&batch(1, N_DRAWN));
    for (weight, i) in network.dense.iter_mut().zip(0..) {
        *weight += rng.normal(i) as f32 * 0.1;
    }
}

fn artifact(kind: NetworkKind) -> Artifact {
    let plan = NetworkPlan {
        kind,
        dim: 3,
        hidden: vec![6, 5],
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.5),
        heads: ncs_model::Heads::default(),
    };
    let schema = Arc::new(schema());
    let spec = Spec::of(&schema, &plan);
    let mut model = Model::new(spec.clone(), CounterRng::new(2, "weights"));
    let mut members = Vec::new();
    for network in 0..model.networks().len() {
        train(
            model.network_mut(network),
            CounterRng::new(network as u64, "steps"),
        );
        members.push(WeightSet {
            network,
            weights: Arc::new(model.network(network).weights()),
        });
    }
    let shapes = spec.layer_shapes();
    let mask = |task| masks::random(&shapes, 0.5, CounterRng::new(task, "mask"));
    Artifact {
        calibrators: vec![],
        self_test: None,
        agreements: vec![],
        ancestry: vec![],
        shares: vec![],
        masks: (kind == NetworkKind::SparseSharing).then(|| {
            Arc::new(Masks {
                tasks: vec![mask(0), mask(1)],
                owners: None,
            })
        }),
        of_task: if members.len() == 2 {
            vec![0, 1]
        } else {
            vec![0, 0]
        },
        schema,
        spec,
        members,
    }
}

/// Two networks, a member each.
fn single_task() -> Artifact {
    artifact(NetworkKind::SingleTask)
}

/// One network whose two tasks are best at different moments: two members, and masks.
fn sparse_sharing() -> Artifact {
    let mut artifact = artifact(NetworkKind::SparseSharing);
    let mut model = Model::new(artifact.spec.clone(), CounterRng::new(2, "weights"));
    train(model.network_mut(0), CounterRng::new(9, "steps"));
    artifact.members.push(WeightSet {
        network: 0,
        weights: Arc::new(model.network(0).weights()),
    });
    artifact.of_task = vec![0, 1];
    artifact
}

/// The bits of all scores of known and unknown ids.
fn scores(artifact: &Artifact) -> Vec<u32> {
    let scorer = Scorer::new(artifact).unwrap();
    let mut pass = Workspace::new(1);
    let batches = [batch(1, N_DRAWN), batch(2, 12)];
    let scores = batches.map(|batch| scorer.score(&batch, &mut pass).concat());
    let scores = scores.concat();
    assert_eq!(scores.len(), 2 * 2 * N_ROWS);
    assert_ne!(scores[0], scores[1]);
    scores.into_iter().map(f32::to_bits).collect()
}

fn complaint(folder: &Path) -> String {
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
fn scores_are_the_same_before_and_after() {
    for artifact in [single_task(), sparse_sharing()] {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        let read = Artifact::read(&folder).unwrap();
        assert_eq!(scores(&read), scores(&artifact));
        assert_eq!(read.schema, artifact.schema);
        assert_eq!((read.spec, read.masks), (artifact.spec, artifact.masks));
        assert_eq!(read.of_task, artifact.of_task);
        for (read, member) in read.members.iter().zip(&artifact.members) {
            assert_eq!(
                (read.network, &read.weights),
                (member.network, &member.weights)
            );
        }
    }
}

/// Releases that do not know what is taken must not read such a model.
#[test]
fn what_a_task_takes_is_kept_under_a_version_of_its_own() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    let mut artifact = sparse_sharing();
    artifact.spec.plan.heads.takes = Some([0, 1]);
    for member in &mut artifact.members {
        Arc::make_mut(&mut member.weights)
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
        assert!(complaint(&folder).contains("its heads are not those of its tasks"));
    }
}

#[test]
fn each_task_is_answered_by_its_own_member_under_its_own_mask() {
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
fn a_changed_byte_is_refused_and_the_file_named() {
    for artifact in [single_task(), sparse_sharing()] {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        for name in FILES {
            let path = folder.join(name);
            let whole = fs::read(&path).unwrap();
            // A wrong sum and a wrong manifest look alike: the manifest is named.
            let named = name.trim_end_matches(".b3");
            for at in (0..whole.len()).step_by(97) {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                fs::write(&path, changed).unwrap();
                let complaint = complaint(&folder);
                assert!(complaint.contains(named), "{name}, byte {at}: {complaint}");
            }
            fs::write(&path, &whole[..whole.len() - 1]).unwrap();
            assert!(complaint(&folder).contains(named), "{name}, cut off");
            fs::write(&path, whole).unwrap();
        }
        Artifact::read(&folder).unwrap();
    }
}

#[test]
fn weights_of_another_model_are_refused() {
    let parent = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| parent.path().join(name));
    single_task().write(&a).unwrap();
    let mut other = single_task();
    other.members.swap(0, 1);
    other.write(&b).unwrap();
    fs::copy(b.join(FILES[2]), a.join(FILES[2])).unwrap();
    let complaint = complaint(&a);
    assert!(
        complaint.contains("not the one in the manifest"),
        "{complaint}"
    );
}

#[test]
fn a_missing_file_says_that_no_model_is_here() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    assert!(complaint(&folder).contains("no model here"));
    for name in FILES {
        single_task().write(&folder).unwrap();
        fs::remove_file(folder.join(name)).unwrap();
        let complaint = complaint(&folder);
        assert!(complaint.contains("no model here"), "{complaint}");
        assert!(complaint.contains(name), "{complaint}");
    }
}

#[test]
fn an_existing_folder_is_replaced_and_nothing_is_left_beside_it() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    single_task().write(&folder).unwrap();
    // What an interrupted write may leave behind.
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
fn a_row_that_was_never_drawn_is_the_zero_vector_after_reading() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    sparse_sharing().write(&folder).unwrap();
    let read = Artifact::read(&folder).unwrap();
    let mut model: Model = Model::new(read.spec.clone(), CounterRng::new(2, "weights"));
    model.network_mut(0).touch_all();
    let network = model.network_mut(0);
    network.restore(&read.members[0].weights).unwrap();
    for (table, unknown) in [(&network.tables[0], 8..12), (&network.tables[1], 8..21)] {
        for id in 0..table.n_rows() as u32 {
            assert_eq!(table.is_drawn(id), !unknown.contains(&id));
            assert_eq!(table.row(id) == [0.0; 3], unknown.contains(&id), "row {id}");
        }
    }

    let scorer = Scorer::new(&read).unwrap();
    let mut rows = batch(1, N_DRAWN);
    let mut score = |word: u32| {
        rows.fields[0].ids.fill(word);
        scorer.score(&rows, &mut Workspace::new(1))
    };
    assert_eq!(score(8), score(11), "unknown words are alike");
    assert_ne!(score(8), score(7));
}

/// Raw rows of the schema's columns, one number each.
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

/// With a calibrator for the second task, and rows to test itself on.
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
fn calibrators_and_a_self_test_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let artifact = complete();
    artifact.write(&model).unwrap();
    let read = Artifact::read(&model).unwrap();
    assert_eq!(read.calibrators, artifact.calibrators);
    assert_eq!(read.self_test, artifact.self_test);
    let scorer = Scorer::new(&read).unwrap();
    read.self_test.unwrap().check(&scorer).unwrap();
    let mut raw = scorer.score_uncalibrated(&batch(1, N_DRAWN), &mut Workspace::new(1));
    let calibrated = scorer.score(&batch(1, N_DRAWN), &mut Workspace::new(1));
    assert_eq!(raw[0], calibrated[0]);
    assert_ne!(raw[1], calibrated[1]);
    scorer.calibrate(&mut raw);
    assert_eq!(raw, calibrated);
}

#[test]
fn a_model_that_scores_otherwise_fails_its_test() {
    let mut artifact = complete();
    let test = artifact.self_test.clone().unwrap();
    artifact.calibrators = vec![];
    let error = test.check(&Scorer::new(&artifact).unwrap()).unwrap_err();
    assert!(error.contains("row 1 of the self-test scores"), "{error}");
    assert!(error.contains("\"cvr\""), "{error}");
}

#[test]
fn wrong_calibrators_and_a_changed_self_test_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let check = |change: &dyn Fn(&mut Artifact), expected: &str| {
        let mut artifact = complete();
        change(&mut artifact);
        artifact.write(&model).unwrap();
        let error = complaint(&model);
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|artifact| _ = artifact.calibrators.pop(),
        "a calibrator for each task",
    );
    let falling = Calibrator::Platt {
        slope: -1.0,
        offset: 0.0,
    };
    check(
        &|artifact| artifact.calibrators[0] = Some(falling.clone()),
        "no rising function",
    );
    complete().write(&model).unwrap();
    let path = model.join("self_test.json");
    let mut text = std::fs::read(&path).unwrap();
    text[20] ^= 1;
    std::fs::write(&path, text).unwrap();
    assert!(
        complaint(&model).contains("self_test.json"),
        "{}",
        complaint(&model)
    );
    std::fs::remove_file(&path).unwrap();
    assert!(
        complaint(&model).contains("self_test.json"),
        "{}",
        complaint(&model)
    );
}

#[test]
fn a_model_without_them_has_the_files_that_it_always_had() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    sparse_sharing().write(&model).unwrap();
    let manifest = std::fs::read_to_string(model.join("manifest.json")).unwrap();
    assert!(!manifest.contains("calibrators") && !manifest.contains("self_test"));
    assert_eq!(names(&model).len(), 3);
}

/// The version that the manifest of a model has, and what is read from it.
fn written(artifact: &Artifact) -> (serde_json::Value, Artifact) {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    artifact.write(&folder).unwrap();
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    (
        manifest["version"].clone(),
        Artifact::read(&folder).unwrap(),
    )
}

#[test]
fn ranges_are_kept_and_earlier_releases_refuse_them() {
    assert_eq!(written(&sparse_sharing()).0, 1);
    let mut artifact = complete();
    assert_eq!(written(&artifact).0, 2);
    let mut schema = schema();
    schema.tables[2].range = Some([-0.1, 1e300]);
    artifact.schema = Arc::new(schema);
    let shares = |unseen| Shares { unseen, nulls: 0.1 };
    artifact.shares = vec![shares(Some(0.25)), shares(None), shares(Some(0.0))];
    let (version, read) = written(&artifact);
    assert_eq!(version, 3);
    assert_eq!(
        (read.schema, read.shares),
        (artifact.schema, artifact.shares)
    );
}

#[test]
fn the_rule_of_texts_is_kept_and_earlier_releases_refuse_it() {
    let mut artifact = sparse_sharing();
    let old = Schema::clone(&artifact.schema);
    artifact.schema = Arc::new(Schema {
        value_rule: ncs_features::ValueRule::Canonical,
        ..old.clone()
    });
    let (version, read) = written(&artifact);
    assert_eq!((version, read.schema), (3.into(), artifact.schema));
    let mut of_its_time = serde_json::to_value(&old).unwrap();
    of_its_time.as_object_mut().unwrap().remove("value_rule");
    assert_eq!(serde_json::from_value::<Schema>(of_its_time).unwrap(), old);
}

/// Writes a model whose manifest has another value at `place`, and the sum that fits.
fn with_manifest(artifact: &Artifact, place: &str, value: serde_json::Value) -> tempfile::TempDir {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    artifact.write(&folder).unwrap();
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *manifest.pointer_mut(place).expect(place) = value;
    let text = manifest.to_string();
    let sum = format!("{}  manifest.json\n", blake3::hash(text.as_bytes()));
    fs::write(&path, text).unwrap();
    fs::write(folder.join("manifest.json.b3"), sum).unwrap();
    parent
}

#[test]
fn a_manifest_whose_parts_do_not_fit_is_refused_before_anything_is_made_from_it() {
    let check = |place: &str, value: serde_json::Value, expected: &str| {
        let parent = with_manifest(&single_task(), place, value);
        let complaint = complaint(&parent.path().join("model"));
        assert!(complaint.contains(expected), "{place}: {complaint}");
    };
    fn json(value: impl Into<serde_json::Value>) -> serde_json::Value {
        value.into()
    }
    let plan = |part: &str| format!("/spec/plan/{part}");
    check(&plan("hidden/0"), json(1u64 << 40), "more connections than");
    check(&plan("hidden/1"), json(u64::MAX), "more connections than");
    check(&plan("dim"), json(u64::MAX), "more connections than");
    check(&plan("dim"), json(0), "a part of size 0");
    check(&plan("hidden"), json(Vec::<u64>::new()), "a part of size 0");
    let experts = |n: u64| serde_json::json!({"mmoe": {"experts": n}});
    check(&plan("kind"), experts(0), "a part of size 0");
    check(&plan("kind"), experts(1 << 50), "more connections than");
    check(&plan("heads/joint"), json(vec![0, 2]), "its heads are not");
    check(&plan("heads/helper_of"), json(2), "its heads are not");
    check("/spec/fields/0/table", json(9), "its sizes are not");
    let population = serde_json::json!({"where": 2});
    check("/schema/tasks/1/population", population, "of no other");
    check("/of_task", json(vec![1, 0]), "its parts do not fit");
    check("/of_task", json(vec![0, 2]), "its parts do not fit");
    check("/towers", json(vec![0, 2]), "its parts do not fit");
}

#[test]
fn a_table_that_is_not_there_or_has_no_buckets_is_refused() {
    let check = |change: fn(&mut Schema), expected: &str| {
        let mut artifact = single_task();
        let mut schema = schema();
        change(&mut schema);
        artifact.spec = Spec::of(&schema, &artifact.spec.plan);
        artifact.schema = Arc::new(schema);
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        assert!(complaint(&folder).contains(expected));
    };
    check(|schema| schema.fields[0].table = 3, "has no table");
    let no_buckets = |schema: &mut Schema| {
        schema.tables[1].ids = IdSpace::Hash {
            buckets: 0,
            function: HashFunction::Xxh3,
            unknown: false,
        };
    };
    check(no_buckets, "has no buckets");
    check(
        |schema| schema.tables[2].range = Some([2.0, 1.0]),
        "ends before it begins",
    );
}

#[test]
fn a_member_that_answers_for_no_task_is_passed_over() {
    let mut artifact = single_task();
    let scores_before = scores(&artifact);
    artifact.members.push(artifact.members[0].clone());
    assert_eq!(scores(&artifact), scores_before);
}

//! Tests of versions in the manifest, and of inconsistent manifests.

use crate::{artifact_of, complete, read_error, schema, single_task, sparse_sharing};
use ncs_features::coverage::Shares;
use ncs_features::{HashFunction, IdSpace, Schema};
use ncs_model::artifact::Artifact;
use ncs_model::{NetworkKind, Spec};
use std::fs;
use std::sync::Arc;
use tempfile::tempdir;

/// Writes a model; returns the version in its manifest, and the model read back.
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
fn ranges_are_kept_and_have_their_own_version() {
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
fn the_text_rule_is_kept_and_has_its_own_version() {
    let mut artifact = sparse_sharing();
    let old = Schema::clone(&artifact.schema);
    artifact.schema = Arc::new(Schema {
        value_rule: ncs_features::ValueRule::Canonical,
        ..old.clone()
    });
    let (version, read) = written(&artifact);
    assert_eq!((version, read.schema), (3.into(), artifact.schema));
    let mut without_rule = serde_json::to_value(&old).unwrap();
    without_rule.as_object_mut().unwrap().remove("value_rule");
    assert_eq!(serde_json::from_value::<Schema>(without_rule).unwrap(), old);
}

/// The schema with a past rate of its first column: two known ids.
fn schema_with_rate(of: &[usize]) -> Schema {
    let mut schema = schema();
    let rate = serde_json::json!({
        "of": of,
        "measure": { "task": { "task": 1, "overall": 0.1, "strength": 12.5 } },
        "counts": "AgIFAQMJAA",
        "scale": {
            "knots": [-1.0, 0.0, 1.0 / 3.0], "mean": 0.1, "deviation": 1.5, "log_mean": 0.0, "log_deviation": 1.0
        },
    });
    schema.fields.push(ncs_features::Field {
        name: "word.past_cvr".into(),
        table: 3,
        ..schema.fields[0].clone()
    });
    schema.tables.push(ncs_features::Table {
        name: "word.past_cvr".into(),
        ids: IdSpace::Rate(serde_json::from_value(rate).unwrap()),
        range: None,
    });
    schema
}

#[test]
fn past_rates_are_kept_and_have_their_own_version() {
    let artifact = artifact_of(NetworkKind::SingleTask, schema_with_rate(&[0]));
    let (version, read) = written(&artifact);
    assert_eq!((version, &read.schema), (5.into(), &artifact.schema));
    let rate = read.schema.rate(3).unwrap();
    assert_eq!(
        (rate.counts.get(2), rate.counts.get(5)),
        (Some((5, 1)), Some((9, 0)))
    );
    assert_eq!((rate.counts.get(3), rate.value(3)), (None, None));
    // Of a number, and of itself.
    for of in [2, 3] {
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        let artifact = artifact_of(NetworkKind::SingleTask, schema_with_rate(&[of]));
        artifact.write(&folder).unwrap();
        let error = read_error(&folder);
        assert!(
            error.contains("\"word.past_cvr\" is not of categories"),
            "{error}"
        );
    }
    let parent = with_manifest(
        &artifact,
        "/schema/tables/3/ids/Rate/counts",
        "AgIFAQMJ".into(),
    );
    let error = read_error(&parent.path().join("model"));
    assert!(error.contains("invalid counts of the past"), "{error}");
}

/// Writes a model whose manifest has another value at `place`, with a valid checksum.
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
fn an_inconsistent_manifest_is_rejected_before_anything_is_built() {
    let check = |place: &str, value: serde_json::Value, expected: &str| {
        let parent = with_manifest(&single_task(), place, value);
        let error = read_error(&parent.path().join("model"));
        assert!(error.contains(expected), "{place}: {error}");
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
    check(
        "/schema/tasks/1/population",
        population,
        "is not another task",
    );
    check("/of_task", json(vec![1, 0]), "its parts do not fit");
    check("/of_task", json(vec![0, 2]), "its parts do not fit");
    check("/towers", json(vec![0, 2]), "its parts do not fit");
}

#[test]
fn missing_and_invalid_tables_are_rejected() {
    let check = |change: fn(&mut Schema), expected: &str| {
        let mut artifact = single_task();
        let mut schema = schema();
        change(&mut schema);
        artifact.spec = Spec::of(&schema, &artifact.spec.plan);
        artifact.schema = Arc::new(schema);
        let parent = tempdir().unwrap();
        let folder = parent.path().join("model");
        artifact.write(&folder).unwrap();
        assert!(read_error(&folder).contains(expected));
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

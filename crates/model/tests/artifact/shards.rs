//! Models whose table rows lie in shards: the whole model in other files.

use super::{Artifact, names, read_error, scores, single_task, sparse_sharing};
use ncs_model::TableShare;
use ncs_model::artifact::{ArtifactDraft, apply_delta};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// Writes a model as `of` processes do, each with the rows of its share only if `has_own` says so.
fn write(artifact: &Artifact, folder: &Path, of: usize) {
    let draft = ArtifactDraft::begin(folder).unwrap();
    let path = ArtifactDraft::path(folder);
    let shards = (0..of).map(|index| artifact.write_shard(&path, TableShare { index, of }));
    let shards = shards.collect::<Result<_, _>>().unwrap();
    draft.publish(artifact, shards, |_| Ok(())).unwrap();
}

#[test]
fn a_model_in_shards_is_the_whole_one() {
    for artifact in [single_task(), sparse_sharing()] {
        let parent = tempdir().unwrap();
        let [whole, sharded] = ["whole", "sharded"].map(|name| parent.path().join(name));
        artifact.write(&whole).unwrap();
        for of in [1, 3] {
            write(&artifact, &sharded, of);
            let mut expected = names(&whole);
            let shards = (1..=of).map(|k| format!("weights-shard-{k}-of-{of}.safetensors"));
            expected.extend(shards);
            expected.sort();
            assert_eq!(names(&sharded), expected);
            assert_eq!(names(parent.path()), ["sharded", "whole"]);
            let open = [Artifact::read(&sharded), Artifact::map(&sharded)];
            for read in open.map(Result::unwrap) {
                assert_eq!(scores(&read), scores(&artifact));
                for (read, written) in read.weight_sets.iter().zip(&artifact.weight_sets) {
                    assert_eq!(read.weights, written.weights);
                }
                let again = parent.path().join("again");
                read.write(&again).unwrap();
                let bytes = |folder: &Path| fs::read(folder.join("weights.safetensors")).unwrap();
                assert!(bytes(&again) == bytes(&whole));
                fs::remove_dir_all(again).unwrap();
            }
        }
    }
}

#[test]
fn a_missing_damaged_or_foreign_shard_is_named() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("model");
    write(&single_task(), &folder, 3);
    let name = "weights-shard-2-of-3.safetensors";
    let shard = folder.join(name);
    let bytes = fs::read(&shard).unwrap();
    let check = |what: &str| {
        for error in [
            read_error(&folder),
            Artifact::map(&folder).unwrap_err().to_string(),
        ] {
            assert!(error.contains(name) && error.contains(what), "{error}");
        }
    };
    fs::remove_file(&shard).unwrap();
    check("it is missing, and the table rows lie in 3 shards");
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&shard, changed).unwrap();
    check("damaged");
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    check("damaged");
    fs::copy(folder.join("weights-shard-1-of-3.safetensors"), &shard).unwrap();
    check("is not the one in the manifest");
    fs::write(&shard, &bytes).unwrap();
    assert_eq!(
        scores(&Artifact::read(&folder).unwrap()),
        scores(&single_task())
    );
}

/// A delta against a model in shards, of one in shards.
#[test]
fn deltas_are_between_models_in_shards() {
    let parent = tempdir().unwrap();
    let [before, after, out] = ["before", "after", "out"].map(|name| parent.path().join(name));
    let artifact = single_task();
    write(&artifact, &before, 2);
    let mut child = artifact.clone();
    for set in &mut child.weight_sets {
        let weights = std::sync::Arc::make_mut(&mut set.weights);
        weights.dense[0] += 1.0;
        weights.tables[0].values.to_mut()[0] += 0.5;
    }
    write(&child, &after, 3);
    let draft = ncs_model::artifact::DeltaDraft::between(&child, &before, None).unwrap();
    draft.write(&after).unwrap();
    drop(draft);
    let expected = scores(&child);
    for entry in fs::read_dir(&after).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("weights")
        {
            fs::remove_file(path).unwrap();
        }
    }
    apply_delta(&before, &after, &out).unwrap();
    assert_eq!(scores(&Artifact::read(&out).unwrap()), expected);
    assert!(names(&out).contains(&"weights-shard-3-of-3.safetensors".to_owned()));
}

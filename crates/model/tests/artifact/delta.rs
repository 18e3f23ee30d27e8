//! Tests of deltas: a model from its parent and what differs is the model, in memory and as files; any damage is
//! noticed.

use crate::{N_SEEN, artifact_of, batch, names, schema, scores, single_task, sparse_sharing};
use ncs_model::artifact::{Artifact, DELTA, Delta, DeltaDraft, RowLives, apply_delta};
use ncs_model::{Calibrator, Masks, NetworkKind, Scorer, Workspace, masks};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

/// Returns a model trained further: one row changed, one gone, one new, other layers and other lives of rows.
fn further(parent: &Artifact) -> Artifact {
    let mut child = parent.clone();
    for set in &mut child.weight_sets {
        let weights = Arc::make_mut(&mut set.weights);
        weights.dense[0] += 1.0;
        let rows = &mut weights.tables[0];
        let width = rows.values.len() / rows.ids.len();
        let values = rows.values.to_mut();
        values[0] += 0.5;
        values.drain(width..2 * width);
        rows.ids.remove(1);
        rows.ids.push(9);
        values.extend(vec![0.25; width]);
    }
    let life = |ids: &[u32], last: u32| RowLives {
        ids: ids.to_vec(),
        last_seen: vec![last; ids.len()],
        sightings: vec![2; ids.len()],
    };
    child.lives = vec![life(&[0, 3], 2), life(&[], 0), life(&[1], 1)];
    child.calibrators = vec![
        None,
        Some(Calibrator::Platt {
            slope: 1.5,
            offset: -0.5,
        }),
    ];
    child
}

struct Pair {
    folder: TempDir,
    parent: Artifact,
    child: Artifact,
}

impl Pair {
    /// Writes a model and another with its delta.
    fn new(parent: Artifact, child: Artifact) -> Pair {
        let folder = tempdir().unwrap();
        parent.write(&folder.path().join("parent")).unwrap();
        let draft = DeltaDraft::between(&child, &folder.path().join("parent"), None).unwrap();
        let add = |folder: &Path| draft.write(folder);
        child.write_with(&folder.path().join("child"), add).unwrap();
        Pair {
            folder,
            parent: parent.clone(),
            child: child.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn updated(&self) -> Result<Vec<u32>, String> {
        let delta = Delta::read(&self.path("child")).map_err(|error| error.to_string())?;
        let parent = Scorer::new(&self.parent).unwrap();
        let updated = parent.updated(&self.path("child"), &delta.unwrap());
        let updated = updated.map_err(|error| error.to_string())?;
        assert_eq!(updated.hash, Artifact::hash(&self.path("child")).unwrap());
        let mut workspace = Workspace::new(1);
        let scores = [batch(1, N_SEEN), batch(2, 12)]
            .map(|batch| updated.scorer.score(&batch, &mut workspace).concat());
        Ok(scores.concat().into_iter().map(f32::to_bits).collect())
    }

    fn applied(&self) -> Result<(), String> {
        let (parent, child) = (self.path("parent"), self.path("child"));
        apply_delta(&parent, &child, &self.path("out")).map_err(|error| error.to_string())
    }
}

#[test]
fn a_delta_makes_the_scorer_and_the_files_of_the_whole() {
    let mut other_masks = sparse_sharing();
    let shapes = other_masks.spec.layer_shapes();
    let rng = ncs_model::CounterRng::new(5, "mask");
    let mask = |task| masks::random(&shapes, 0.3, rng.at(task));
    other_masks.masks = Some(Arc::new(Masks {
        tasks: vec![mask(0), mask(1)],
        owners: None,
    }));
    let pairs = [
        Pair::new(single_task(), further(&single_task())),
        Pair::new(sparse_sharing(), further(&sparse_sharing())),
        Pair::new(sparse_sharing(), further(&other_masks)),
    ];
    for pair in pairs {
        assert_eq!(pair.updated().unwrap(), scores(&pair.child));
        // The file of all weights is not needed.
        fs::rename(pair.path("child/weights.safetensors"), pair.path("weights")).unwrap();
        assert_eq!(pair.updated().unwrap(), scores(&pair.child));
        pair.applied().unwrap();
        let bytes = |path: PathBuf| fs::read(path).unwrap();
        assert!(bytes(pair.path("out/weights.safetensors")) == bytes(pair.path("weights")));
        let read = Artifact::read(&pair.path("out")).unwrap();
        assert_eq!(read.lives, pair.child.lives);
        let mut expected = names(&pair.path("child"));
        expected.push("weights.safetensors".to_owned());
        assert_eq!(names(&pair.path("out")), expected);
    }
}

#[test]
fn a_delta_is_as_small_as_the_change() {
    let parent = sparse_sharing();
    let mut child = parent.clone();
    let weights = Arc::make_mut(&mut child.weight_sets[1].weights);
    weights.tables[1].values.to_mut()[4] = 7.0;
    let pair = Pair::new(parent, child);
    let draft = DeltaDraft::between(&pair.child, &pair.path("parent"), None).unwrap();
    let size = draft.size();
    assert_eq!((size.changed, size.removed), (1, 0));
    let dense: usize = pair
        .child
        .weight_sets
        .iter()
        .map(|set| set.weights.dense.len())
        .sum();
    assert_eq!(size.bytes, 4 * (dense as u64 + 1 + 3));
    assert!(size.is_smaller());
}

#[test]
fn a_delta_of_another_parent_or_with_a_changed_byte_is_refused() {
    let pair = Pair::new(sparse_sharing(), further(&sparse_sharing()));
    // In memory the hashes of the whole tell.
    let mut other = Pair::new(sparse_sharing(), further(&sparse_sharing()));
    let weights = Arc::make_mut(&mut other.parent.weight_sets[0].weights);
    weights.tables[1].values.to_mut()[0] += 1.0;
    let error = other.updated().unwrap_err();
    assert!(
        error.contains("member.0.table.1.values is not the one in the manifest"),
        "{error}"
    );
    other.parent.write(&other.path("parent")).unwrap();
    let error = other.applied().unwrap_err();
    assert!(
        error.contains("apply it to that one, or copy the whole model"),
        "{error}"
    );
    assert!(!other.path("out").exists() && !other.path(".out.tmp").exists());

    let path = pair.path("child").join(DELTA);
    let whole = fs::read(&path).unwrap();
    for place in [9, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(
            pair.updated().is_err() && pair.applied().is_err(),
            "byte {place}"
        );
    }
    for length in [0, 7, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            pair.updated().is_err() && pair.applied().is_err(),
            "{length} bytes"
        );
    }
    fs::write(&path, &whole).unwrap();
    pair.applied().unwrap();
}

#[test]
fn a_delta_needs_its_parent_and_networks_that_are_alike() {
    let pair = Pair::new(sparse_sharing(), further(&sparse_sharing()));
    let expected = blake3::hash(b"another");
    let error = DeltaDraft::between(&pair.child, &pair.path("parent"), Some(&expected));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("the delta is against model")
    );
    // A model of another kind has nothing in common, and still follows.
    let child = artifact_of(NetworkKind::SharedBottom, schema());
    let pair = Pair::new(single_task(), child);
    assert_eq!(pair.updated().unwrap(), scores(&pair.child));
    assert!(Delta::read(&pair.path("parent")).unwrap().is_none());
}

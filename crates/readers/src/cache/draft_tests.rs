//! Drafts of caches: side by side, checked, and cleared away.

use super::tests::{rows, schema};
use super::*;
use crate::prepare::PartReport;
use crate::split::Part;
use ncs_features::Pick;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const KEY: [u8; 32] = [7; 32];

/// Writes 50 rows into a draft; what its record is to say.
fn fill(draft: &Draft<'_>) -> Record {
    let path = draft.part_path(Part::Train);
    let mut writer = PartWriter::create(&path, draft.key(), &schema()).unwrap();
    let picks: Vec<Pick> = (0..50).map(|row| Pick::new(0, row)).collect();
    writer.push(&[rows(0..50, 50)], &picks).unwrap();
    let report = PartReport {
        part: Part::Train,
        labels: writer.finish().unwrap(),
        columns: vec![],
    };
    Record {
        schema: schema(),
        report: Report {
            parts: vec![report],
            broken_rows: 0,
            notes: vec![],
            files: vec![],
            varies: vec![],
        },
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries
        .map(name)
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Processes in containers may all have number 1.
#[test]
fn drafts_of_one_process_number_do_not_meet() {
    let all = tempfile::tempdir().unwrap();
    let folder = Folder::new(all.path(), KEY);
    let (one, other) = (folder.draft().unwrap(), folder.draft().unwrap());
    assert_ne!(one.part_path(Part::Train), other.part_path(Part::Train));
    let (first, second) = (fill(&one), fill(&other));
    one.complete(&first).unwrap();
    other.complete(&second).unwrap();
    assert_eq!(folder.record().unwrap(), Some(first));
    let part = folder.part(Part::Train).unwrap();
    assert_eq!(part.n_rows(), 50);
    let name = folder
        .path
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    assert_eq!(names(all.path()), [name]);
    let inside = ["prepared.json", "prepared.json.b3", "train.ids"];
    assert_eq!(names(&folder.path), inside);
}

/// Any byte of a part that is not what was written, or a part that is gone.
#[test]
fn what_is_not_as_written_gets_no_name() {
    let all = tempfile::tempdir().unwrap();
    let folder = Folder::new(all.path(), KEY);
    let length = {
        let draft = folder.draft().unwrap();
        fill(&draft);
        fs::metadata(draft.part_path(Part::Train)).unwrap().len() as usize
    };
    let check = |spoil: &dyn Fn(&Path)| {
        let draft = folder.draft().unwrap();
        let record = fill(&draft);
        spoil(&draft.part_path(Part::Train));
        let error = draft.complete(&record).unwrap_err().to_string();
        assert!(
            error.contains("train.ids") && error.contains("check the disk"),
            "{error}"
        );
        assert_eq!(folder.record().unwrap(), None);
    };
    for at in (0..length).step_by(13) {
        check(&|path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        });
    }
    check(&|path| fs::remove_file(path).unwrap());
    check(&|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(99)
            .unwrap()
    });
    assert_eq!(names(all.path()), [""; 0]);
}

#[test]
fn drafts_of_killed_processes_are_cleared_away_and_others_stay() {
    let all = tempfile::tempdir().unwrap();
    let draft = |name: &str| -> PathBuf {
        let path = all
            .path()
            .join(format!("0123456789abcdef0123456789abcdef.{name}.tmp"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("train.ids"), "torn").unwrap();
        path
    };
    let (old, new, locked) = (draft("1"), draft("2"), draft("3"));
    let lock = File::create(locked.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    for path in [&old, &locked] {
        for entry in names(path)
            .iter()
            .map(|name| path.join(name))
            .chain([path.clone()])
        {
            File::open(entry).unwrap().set_modified(long_ago).unwrap();
        }
    }
    drop(Folder::new(all.path(), KEY).draft().unwrap());
    assert_eq!(
        [&old, &new, &locked].map(|path| path.exists()),
        [false, true, true]
    );
    let cleared: Vec<PathBuf> = clear(all.path())
        .unwrap()
        .into_iter()
        .map(|e| e.path)
        .collect();
    assert_eq!(cleared, [new]);
    drop(lock);
    assert_eq!(clear(all.path()).unwrap().len(), 1);
}

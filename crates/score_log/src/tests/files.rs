//! Tests of the files of a score log: when they are opened, closed and lost.

use super::*;

#[test]
fn files_are_closed_by_rows_and_by_age_and_drafts_are_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let whole = |name: &String| name.ends_with(".parquet");
    let mut log = ParquetLog::open(path, 10, Duration::from_secs(3600), HELD).unwrap();
    written_rows(log.write(&plain(0)));
    assert!(names(path).is_empty());
    written_rows(log.write(&plain(6)));
    written_rows(log.tick());
    assert_eq!(
        names(path),
        [".scores-20260314T070809Z-01234567-1.parquet.unfinished"]
    );
    written_rows(log.write(&plain(6)));
    written_rows(log.write(&plain(6)));
    assert_eq!(names(path).iter().filter(|name| whole(name)).count(), 1);
    written_rows(log.finish());
    assert_eq!(names(path).len(), 2);
    assert!(names(path).iter().all(whole));
    let mut log = ParquetLog::open(path, 10, Duration::ZERO, HELD).unwrap();
    written_rows(log.write(&plain(1)));
    assert_eq!(names(path).len(), 3);
    assert!(names(path).iter().all(whole));
}

#[test]
fn each_model_has_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    let mut other = plain(1);
    Arc::make_mut(&mut other.identity).hash = "fedcba9876543210".into();
    for entry in [&plain(1), &other, &plain(1)] {
        written_rows(log.write(entry));
    }
    written_rows(log.finish());
    let expected =
        ["01234567", "fedcba98"].map(|hash| format!("scores-20260314T070809Z-{hash}-1.parquet"));
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn drafts_of_a_killed_process_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let draft = ".scores-20260101T000000Z-01234567-1.parquet.unfinished";
    fs::write(folder.path().join(draft), "PAR1").unwrap();
    fs::write(folder.path().join("mine.unfinished"), "mine").unwrap();
    log(folder.path());
    assert_eq!(names(folder.path()), ["mine.unfinished"]);
}

#[test]
fn an_unwritable_folder_is_rejected_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    for path in [&path, &path.join("in")] {
        let error = ParquetLog::open(path, 1, Duration::ZERO, HELD)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot write the score log"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_failure_is_reported_and_the_next_entry_starts_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut log = log(&path);
    written_rows(log.write(&plain(3)));
    fs::remove_dir_all(&path).unwrap();
    let kept = log.finish();
    assert_eq!((kept.written, kept.lost), (0, 3));
    assert!(kept.errors[0].contains("its 3 rows are lost"), "{kept:?}");
    let kept = log.write(&plain(3));
    assert_eq!((kept.written, kept.lost), (0, 3));
    assert!(
        kept.errors[0].contains("cannot write the score log"),
        "{kept:?}"
    );
    fs::create_dir(&path).unwrap();
    written_rows(log.write(&plain(3)));
    written_rows(log.finish());
    assert_eq!(names(&path).len(), 1);
}

#[test]
fn only_entries_that_a_file_cannot_hold_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    let check = |log: &mut ParquetLog, context: Column, n: usize, part: &str| {
        let mut entry = plain(n);
        Arc::make_mut(&mut entry.question).context.columns[0] = context;
        let kept = log.write(&entry);
        assert_eq!((kept.written, kept.lost), (0, n as u64));
        assert!(kept.errors[0].contains(part), "{kept:?}");
    };
    let mut latin = Texts::default();
    latin.push(b"caf\xE9");
    let latin = column("tags", Values::Text(latin), None, &[]);
    check(
        &mut log,
        latin,
        1,
        "column \"tags\" holds a text that is not UTF-8",
    );
    let long = column("tags", texts(&["a".repeat(1 << 20).as_str()]), None, &[]);
    check(&mut log, long, 1025, "candidates");
    written_rows(log.write(&plain(1)));
    written_rows(log.finish());
    assert_eq!(names(folder.path()).len(), 1);
}

#[test]
fn rows_are_counted_when_their_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = ParquetLog::open(folder.path(), 10, Duration::from_secs(3600), HELD).unwrap();
    let counted = [0, 0, 12, 0].map(|expected| (written_rows(log.write(&plain(4))), expected));
    assert!(
        counted.iter().all(|(actual, expected)| actual == expected),
        "{counted:?}"
    );
    assert_eq!(written_rows(log.finish()), 4);
}

#[test]
fn open_files_buffer_at_most_the_total_limit() {
    let folder = tempfile::tempdir().unwrap();
    let max_held = plain(100).n_bytes() * 3;
    let mut log =
        ParquetLog::open(folder.path(), 100_000, Duration::from_secs(3600), max_held).unwrap();
    for round in 0..10 {
        for model in 0..4 {
            let mut entry = plain(100);
            Arc::make_mut(&mut entry.identity).hash = format!("{model:08}rest").into();
            written_rows(log.write(&entry));
            let held: usize = log.open.values().map(LogFile::held_bytes).sum();
            assert!(held <= max_held, "{held} bytes in round {round}");
        }
    }
    assert_eq!(written_rows(log.finish()), 4000);
}

#[test]
fn the_number_of_open_files_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    let mut written = 0;
    for model in 0..20 {
        let mut entry = plain(3);
        Arc::make_mut(&mut entry.identity).hash = format!("{model:08}rest").into();
        written += written_rows(log.write(&entry));
        assert!(log.open.len() <= MAX_OPEN_FILES);
    }
    assert_eq!(written + written_rows(log.finish()), 60);
}

#[test]
fn rows_that_are_taken_out_leave_the_others_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let users = Values::Int(vec![7, 8, 7, 9]);
    let candidates = vec![
        column("user", users, None, &[false, true, false, false]),
        column(
            "tags",
            texts(&["a", "b", "7"]),
            Some(vec![0, 2, 2, 3, 3]),
            &[false, false, false, true],
        ),
        column("prices", Values::Float(vec![0.5, 1.5, 2.5, 3.5]), None, &[]),
        column("price", Values::Float(vec![0.1; 4]), None, &[]),
    ];
    let entry = entry(vec![], candidates, 4);
    let path = written(folder.path(), &entry);
    assert!(crate::erase::is_score_log(&path));
    let columns = [
        "ncs_request_id",
        "ncs_time",
        "ncs_candidate",
        "ncs_raw_ctr",
        "ncs_p_ctr",
        "ncs_role",
    ];
    let columns = [&columns[..], &FEATURES].concat();
    let before = read(&path, &columns);
    crate::erase::rewrite_without(&path, &[false, false, true, false]).unwrap();
    assert_eq!(read(&path, &columns), before.select(&[0, 1, 3]));
    assert!(crate::erase::is_score_log(&path));
    let error = crate::erase::rewrite_without(&path, &[true; 4])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has 3 rows, and 4 were looked at; the file is as it was"),
        "{error}"
    );
    crate::erase::rewrite_without(&path, &[true; 3]).unwrap();
    assert!(crate::erase::is_score_log(&path));
}

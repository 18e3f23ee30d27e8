//! `ncs cache`

use std::path::PathBuf;

use ncs_config::user_cache;
use ncs_eval::text_table;
use ncs_experiments::progress::size;
use ncs_experiments::training;
use ncs_readers::cache::{self, CacheEntry};

use super::{Outcome, print};
use crate::arguments::{Cache, CacheFolder};

/// Lists or deletes cached rows.
///
/// # Errors
/// The folder cannot be read, or what is in it cannot be deleted.
pub fn run(arguments: &Cache) -> Outcome {
    match arguments {
        Cache::List(place) => {
            let folder = folder(place);
            let entries = cache::list(&folder)?;
            let summary = summary(&entries, "kept in", &folder);
            print(&format!("{}{summary}", table(&entries)))
        }
        Cache::Clear(place) => {
            let folder = folder(place);
            let deleted = summary(&cache::clear(&folder)?, "deleted from", &folder);
            print(&format!("{deleted}{}", in_use(&cache::list(&folder)?)))
        }
    }
}

fn folder(place: &CacheFolder) -> PathBuf {
    let Some(folder) = &place.folder else {
        return user_cache();
    };
    if folder.join("run.id").exists() {
        folder.join(training::ROWS)
    } else {
        folder.clone()
    }
}

fn table(entries: &[CacheEntry]) -> String {
    let row = |entry: &CacheEntry| {
        let state = if entry.is_complete {
            "complete"
        } else {
            "incomplete"
        };
        let path = entry.path.display().to_string();
        vec![path, size(entry.n_bytes), state.to_owned()]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        text_table(&["data set", "size", "state"], &rows)
    }
}

/// Remaining files after clearing: runs are writing them.
fn in_use(left: &[CacheEntry]) -> String {
    match left.len() {
        0 => String::new(),
        n => format!("{n} more are in use by running trainings and were kept\n"),
    }
}

/// `2 data sets, 1.5 MiB, kept in /home/me/.cache/ncs4cvr`
fn summary(entries: &[CacheEntry], verb: &str, folder: &std::path::Path) -> String {
    let n_bytes = entries.iter().map(|entry| entry.n_bytes).sum();
    let sets = match entries.len() {
        1 => "data set",
        _ => "data sets",
    };
    let folder = folder.display();
    format!(
        "{} {sets}, {}, {verb} {folder}\n",
        entries.len(),
        size(n_bytes)
    )
}

//! URLs, globs and folders of objects in a store to objects. A store has no folders: they are the parts of keys between
//! slashes, and the rules are those of folders of files.

use super::{Part, is_hidden};
use crate::partitions::is_partition;
use crate::remote::{Listed, Object, Url, list};
use crate::source::ReadError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Characters that make a part of a key a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// Returns the objects that a URL names; `None` if the pattern is not a URL.
///
/// # Errors
/// The URL is refused, the store does not answer, or nothing matches.
pub(super) fn objects(pattern: &str) -> Result<Option<Vec<PathBuf>>, ReadError> {
    let Some(url) = Url::parse(pattern)? else {
        return Ok(None);
    };
    let is_glob = url.key.contains(GLOB);
    if !is_glob && !url.key.is_empty() && !url.key.ends_with('/') {
        let path = url.path_of(&url.key);
        let first = match Object::open(&path) {
            Ok(_) => return Ok(Some(vec![path])),
            Err(error) => error,
        };
        // The name of a folder, perhaps.
        return match list(&url, &url.key) {
            Ok(listed) if !listed.is_empty() => matching(&url, pattern, &listed).map(Some),
            _ => Err(first),
        };
    }
    let fixed = url.key.split('/').take_while(|part| !part.contains(GLOB));
    let fixed: Vec<&str> = fixed.collect();
    let fixed = match is_glob {
        true => fixed.join("/"),
        false => url.key.trim_end_matches('/').to_owned(),
    };
    let listed = list(&url, &fixed)?;
    matching(&url, pattern, &listed).map(Some)
}

fn matching(url: &Url, pattern: &str, listed: &[Listed]) -> Result<Vec<PathBuf>, ReadError> {
    let names = url.key.split('/').filter(|name| !name.is_empty());
    let parts = names.map(|name| Part::of(OsStr::new(name), pattern));
    let parts: Vec<Part<'_>> = parts.collect::<Result<_, _>>()?;
    let is_named = |object: &&Listed| {
        let names: Vec<&str> = object.key.split('/').collect();
        // An empty object may stand for a folder.
        matches(&parts, &names, object.n_bytes == 0)
    };
    let found = listed.iter().filter(is_named);
    let found: Vec<PathBuf> = found.map(|object| url.path_of(&object.key)).collect();
    if found.is_empty() {
        return Err(ReadError::NoFiles {
            pattern: pattern.to_owned(),
            path: url.path_of(&url.key),
            root: PathBuf::new(),
        });
    }
    Ok(found)
}

/// Returns true if the parts of a pattern name a key, or a folder in which the key counts.
fn matches(parts: &[Part<'_>], names: &[&str], is_empty: bool) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return match names.split_last() {
            None => !is_empty,
            Some((last, folders)) => {
                !is_hidden(OsStr::new(last)) && folders.iter().all(|name| counts(name))
            }
        };
    };
    let Some((name, below)) = names.split_first() else {
        return false;
    };
    let is_next = match part {
        Part::Name(own) => *own == OsStr::new(name),
        Part::Glob(glob, first) => {
            let is_shown = !is_hidden(OsStr::new(name)) || name.bytes().next() == *first;
            is_shown && glob.is_match(Path::new(name))
        }
        Part::AnyDepth => {
            let is_here = matches(rest, names, is_empty);
            let is_deeper = || !is_hidden(OsStr::new(name)) && matches(parts, below, is_empty);
            return is_here || (!below.is_empty() && is_deeper());
        }
    };
    is_next && matches(rest, below, is_empty)
}

/// Returns true if the files of a folder within a folder count.
fn counts(folder: &str) -> bool {
    !is_hidden(OsStr::new(folder)) && is_partition(OsStr::new(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_objects_as_they_name_files() {
        let keys = [
            "log/_SUCCESS",
            "log/a.csv",
            "log/day=1/b.csv",
            "log/day=2/.hidden/c.csv",
            "log/day=2/c.csv",
            "log/old/d.csv",
            "log/old/day=3/e.csv",
        ];
        let listed: Vec<Listed> = keys
            .iter()
            .map(|key| Listed {
                key: (*key).to_owned(),
                n_bytes: 1,
            })
            .collect();
        let check = |pattern: &str, expected: &[&str]| {
            let url = Url::parse(pattern).unwrap().unwrap();
            let found = matching(&url, pattern, &listed).unwrap_or_default();
            let expected: Vec<PathBuf> = expected.iter().map(|key| url.path_of(key)).collect();
            assert_eq!(found, expected, "{pattern}");
        };
        check(
            "s3://b/log",
            &["log/a.csv", "log/day=1/b.csv", "log/day=2/c.csv"],
        );
        check(
            "s3://b/log/",
            &["log/a.csv", "log/day=1/b.csv", "log/day=2/c.csv"],
        );
        check("s3://b/log/day=*", &["log/day=1/b.csv", "log/day=2/c.csv"]);
        check("s3://b/log/day=*/b.csv", &["log/day=1/b.csv"]);
        check("s3://b/log/*.csv", &["log/a.csv"]);
        check("s3://b/log/_*", &["log/_SUCCESS"]);
        check("s3://b/log/old", &["log/old/d.csv", "log/old/day=3/e.csv"]);
        check(
            "s3://b/**/*.csv",
            &[
                "log/a.csv",
                "log/day=1/b.csv",
                "log/day=2/c.csv",
                "log/old/d.csv",
                "log/old/day=3/e.csv",
            ],
        );
        check("s3://b/log/{a,b}.csv", &["log/a.csv"]);
        check("s3://b/other", &[]);
        let marker = [Listed {
            key: "log/old".to_owned(),
            n_bytes: 0,
        }];
        let url = Url::parse("s3://b/log/old").unwrap().unwrap();
        assert!(matching(&url, "s3://b/log/old", &marker).is_err());
    }
}

//! Paths relative to another folder.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Converts a path relative to the working directory to one relative to `folder`. Absolute paths and URLs are unchanged.
///
/// Fails if the working directory or `folder` cannot be resolved.
pub(crate) fn seen_from(folder: &Path, path: &str) -> io::Result<String> {
    if Path::new(path).is_absolute() || ncs_readers::is_remote(path.as_ref()) {
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir()?.canonicalize()?;
    let folder = folder.canonicalize()?;
    Ok(if folder == here {
        path.to_owned()
    } else {
        relative(&folder, &here, path)
    })
}

/// Returns the path from `folder` to `path`, which is relative to `here`; both folders are absolute and contain
/// no links.
fn relative(folder: &Path, here: &Path, path: &str) -> String {
    // Only leading dots are resolved: `..` after a name, which may be a link, is kept.
    let mut target = here.to_owned();
    let mut rest = Path::new(path).components().peekable();
    while let Some(Component::ParentDir | Component::CurDir) = rest.peek() {
        if rest.next() == Some(Component::ParentDir) {
            target.pop();
        }
    }
    target.extend(rest);
    let common = folder.components().zip(target.components());
    let common = common.take_while(|(one, other)| one == other).count();
    let up = folder
        .components()
        .skip(common)
        .map(|_| Component::ParentDir);
    let down = target.components().skip(common);
    let relative: PathBuf = up.chain(down).collect();
    relative.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_go_through_the_common_folder() {
        let check = |folder: &str, path: &str, expected: &str| {
            assert_eq!(relative(folder.as_ref(), "/a/b".as_ref(), path), expected);
        };
        check("/a/b/runs", "logs/*.csv", "../logs/*.csv");
        check("/a/b/logs/x", "logs/1.csv", "../1.csv");
        check("/a/c", "./x.csv", "../b/x.csv");
        check("/a/c", "../../d/x.csv", "../../d/x.csv");
        check("/a", "../d.csv", "d.csv");
        check("/a/b/runs", "link/../x.csv", "../link/../x.csv");
    }
}

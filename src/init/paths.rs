//! Paths as another folder sees them.

use std::io;
use std::path::{Component, Path, PathBuf};

/// A path that starts at the working folder, as one that starts at `folder`. Absolute paths stay.
///
/// # Errors
/// The working folder or `folder` is not to be found.
pub(crate) fn seen_from(folder: &Path, path: &str) -> io::Result<String> {
    if Path::new(path).is_absolute() {
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir()?.canonicalize()?;
    let folder = folder.canonicalize()?;
    Ok(if folder == here {
        path.to_owned()
    } else {
        way(&folder, &here, path)
    })
}

/// The way from `folder` to `path`, which starts at `here`; both folders are absolute and hold no links.
fn way(folder: &Path, here: &Path, path: &str) -> String {
    // Only leading dots are resolved: after a name, which may be a link, `..` stays what it is.
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
    let way: PathBuf = up.chain(down).collect();
    way.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_up_to_what_is_common_and_down() {
        let check = |folder: &str, path: &str, expected: &str| {
            assert_eq!(way(folder.as_ref(), "/a/b".as_ref(), path), expected);
        };
        check("/a/b/runs", "logs/*.csv", "../logs/*.csv");
        check("/a/b/logs/x", "logs/1.csv", "../1.csv");
        check("/a/c", "./x.csv", "../b/x.csv");
        check("/a/c", "../../d/x.csv", "../../d/x.csv");
        check("/a", "../d.csv", "d.csv");
        check("/a/b/runs", "link/../x.csv", "../link/../x.csv");
    }
}

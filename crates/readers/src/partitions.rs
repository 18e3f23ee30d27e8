//! Folders named `NAME=VALUE`, as Hive and Spark write them: columns of the files below.

use ncs_features::{Column, Texts, Values};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Component, Path};

/// The value of a folder whose rows have none.
const NULL: &[u8] = b"__HIVE_DEFAULT_PARTITION__";

/// A column defined by a folder on the path of a file: one value for all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Partition {
    /// The column's name.
    pub(crate) name: String,
    /// Its value as text; `None` for a null.
    value: Option<Vec<u8>>,
}

/// Returns true if a folder of this name defines a column.
pub(crate) fn is_partition(folder: &OsStr) -> bool {
    partition(folder).is_some()
}

/// Returns the columns defined by the folders of a path, the outermost first. Names and values may be
/// percent-encoded, as writers do for characters that a path cannot hold.
pub(crate) fn partitions(path: &Path) -> Vec<Partition> {
    let folders = path.parent().unwrap_or(Path::new("")).components();
    let names = folders.filter_map(|folder| match folder {
        Component::Normal(name) => partition(name),
        _ => None,
    });
    names.collect()
}

fn partition(folder: &OsStr) -> Option<Partition> {
    let bytes = folder.as_encoded_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    let name = String::from_utf8(decoded(name)).ok()?;
    let value = (value != NULL).then(|| decoded(value));
    (!name.is_empty()).then_some(Partition { name, value })
}

fn decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

impl Partition {
    /// Returns the column in `n_rows` rows.
    pub(crate) fn column(&self, n_rows: usize) -> Column {
        let mut texts = Texts::default();
        let value = self.value.as_deref().unwrap_or_default();
        (0..n_rows).for_each(|_| texts.push(value));
        Column {
            name: self.name.clone(),
            values: Values::Text(texts),
            offsets: None,
            nulls: match self.value {
                Some(_) => Vec::new(),
                None => vec![true; n_rows],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_named_as_columns_are_columns() {
        let check = |path: &str, expected: &[(&str, Option<&str>)]| {
            let found = partitions(path.as_ref());
            let found: Vec<_> = found
                .iter()
                .map(|p| {
                    (
                        p.name.as_str(),
                        p.value.as_deref().map(|v| std::str::from_utf8(v).unwrap()),
                    )
                })
                .collect();
            assert_eq!(found, expected, "{path}");
        };
        check(
            "log/day=2024-01-01/h=3/a.csv",
            &[("day", Some("2024-01-01")), ("h", Some("3"))],
        );
        check(
            "city=S%C3%A3o%20Paulo%2FBR/a=b.csv",
            &[("city", Some("São Paulo/BR"))],
        );
        check("a%3Db=c=d/x", &[("a=b", Some("c=d"))]);
        check("day=__HIVE_DEFAULT_PARTITION__/x", &[("day", None)]);
        check("day=/x", &[("day", Some(""))]);
        check("/=x/plain/100%=1/x", &[("100%", Some("1"))]);
    }
}

//! Shared state of the later checks: the tree for positions, the files' columns, the findings.

use super::file_columns::FileColumns;
use super::problem::{Problem, hint, listed};
use super::tree::Node;

/// Problems and notes found so far, and what is needed to word them.
pub(crate) struct Checks<'t> {
    tree: &'t Node,
    files: Vec<FileColumns>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl<'t> Checks<'t> {
    pub(crate) fn new(tree: &'t Node) -> Checks<'t> {
        Checks {
            tree,
            files: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// From here on columns are looked up in these files.
    pub(crate) fn know(&mut self, files: Vec<FileColumns>) {
        self.files = files;
    }

    /// The key at `path` is wrong.
    pub(crate) fn say(&mut self, path: &[&str], text: impl Into<String>) {
        self.problems
            .push(Problem::new(self.tree.place_of(path), text));
    }

    /// Something that is no error.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether the run file states the key at `path`.
    pub(crate) fn states(&self, path: &[&str]) -> bool {
        self.tree.states(path)
    }

    /// Returns the key that names the raw column of a feature.
    pub(crate) fn place_of_column<'n>(&self, feature: &'n str) -> Vec<&'n str> {
        let stated = self.states(&["columns", feature, "column"]);
        ["columns", feature, "column"][..if stated { 3 } else { 2 }].to_vec()
    }

    /// `column`, which the key at `path` names, must be in every file.
    pub(crate) fn column(&mut self, path: &[&str], column: &str) {
        let lacks = |file: &&FileColumns| !file.columns.iter().any(|known| known == column);
        let Some(file) = self.files.iter().find(lacks) else {
            return;
        };
        let near = match separator(&file.columns, column) {
            Some(separator) => format!(
                "; its header is one name, which has it between {separator:?}: set data.delimiter = {separator:?}"
            ),
            None => {
                let near = hint(column, file.columns.iter().map(String::as_str));
                near.replace("; known:", "; it has")
            }
        };
        let text = format!("column {column:?} is not in {}{near}", file.name);
        self.say(path, text);
    }

    /// `; the file has click, long_read`: the columns of the first file that are not in `taken`.
    pub(crate) fn other_columns(&self, taken: &[&str]) -> String {
        let Some(file) = self.files.first() else {
            return String::new();
        };
        let names = file.columns.iter().map(String::as_str);
        let free: Vec<&str> = names.filter(|name| !taken.contains(name)).collect();
        format!("; the file has {}", listed(&free))
    }

    /// Problems and notes.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems, self.notes)
    }
}

/// The character that stands between the names of a header that was read as one name, `wanted` among them.
fn separator(columns: &[String], wanted: &str) -> Option<String> {
    let [header] = columns else {
        return None;
    };
    let name = |part: &str| part.trim().trim_matches('"') == wanted;
    let mut separators = [';', '\t', ',', '|', '~', ' '].into_iter();
    let is_between =
        |separator: &char| header.contains(*separator) && header.split(*separator).any(name);
    separators.find(is_between).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_of_a_header_read_as_one_name_is_found() {
        let check = |header: &[&str], wanted, expected| {
            let columns: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
            let found = separator(&columns, wanted).and_then(|text| text.chars().next());
            assert_eq!(found, expected, "{header:?}");
        };
        check(&["user;title;click"], "click", Some(';'));
        check(&["user\ttitle"], "user", Some('\t'));
        check(&["\"user\"; \"title\""], "title", Some(';'));
        check(&["user|click"], "click", Some('|'));
        check(&["user;title"], "click", None);
        check(&["click"], "click", None);
        check(&["user;title", "b"], "title", None);
        check(&[], "title", None);
    }
}

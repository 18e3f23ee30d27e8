//! Checks that no three or more files of a crate use each other in a circle.
//!
//! A file uses another by a path that begins with `crate::` or `super::`, followed through `pub use`. That a module
//! names its own parts, and re-exports them, is no use in this sense; tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Circles that are still there. This list only becomes shorter.
const KNOWN: [(&str, &[&str]); 1] = [(
    "crates/serve/src",
    &["telemetry/record", "telemetry/requests", "telemetry/served"],
)];

/// The path of a module, or of an item in one.
type Names = Vec<String>;

/// Returns a sentence for each circle of more than two files, and for each known one that is gone.
pub(super) fn untidy(root: &Path) -> Vec<String> {
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten();
    let mut folders: Vec<String> = crates
        .filter_map(|entry| Some(format!("crates/{}/src", entry.ok()?.file_name().to_str()?)))
        .collect();
    folders.sort();
    folders.extend(["src", "bindings/python/src", "fuzz/src", "xtask/src"].map(str::to_owned));
    let mut found = Vec::new();
    let mut known = KNOWN.to_vec();
    for folder in folders {
        let sources = super::files(&root.join(&folder), "rs").into_iter();
        let read = |path: std::path::PathBuf| {
            let text = fs::read_to_string(&path).ok()?;
            Some((super::shown(&root.join(&folder), &path), text))
        };
        for circle in circles(sources.filter_map(read)) {
            let is_known = |(of, files): &(&str, &[&str])| *of == folder && *files == circle;
            match known.iter().position(is_known) {
                Some(at) => drop(known.swap_remove(at)),
                None => found.push(format!(
                    "{folder}: these files use each other in a circle; move what they share into a file of its own: {}",
                    circle.join(", ")
                )),
            }
        }
    }
    let gone = known.iter().map(|(folder, files)| {
        let files = files.join(", ");
        format!("{folder}: the circle of {files} is gone; delete it from the list of known ones")
    });
    found.extend(gone);
    found
}

/// Returns the circles of more than two among the files of a crate: paths inside its `src`, and texts.
fn circles(sources: impl Iterator<Item = (String, String)>) -> Vec<Names> {
    let is_test = |module: &Names| module.last().is_some_and(|name| name.ends_with("tests"));
    let files: BTreeMap<Names, File> = sources
        .map(|(name, text)| (module_of(&name), File::parse(&text)))
        .filter(|(module, _)| !is_test(module))
        .collect();
    let used = |module: &Names| -> BTreeSet<&Names> {
        let uses = files[module].uses.iter();
        let used = uses.filter_map(|path| resolve(&files, module, path, 0));
        used.filter(|other| *other != module).collect()
    };
    let graph: BTreeMap<&Names, BTreeSet<&Names>> =
        files.keys().map(|module| (module, used(module))).collect();
    let reached: BTreeMap<&Names, BTreeSet<&Names>> = graph
        .keys()
        .map(|module| (*module, reached(&graph, module)))
        .collect();
    let circle = |module: &&Names| -> BTreeSet<&Names> {
        let mutual = |other: &&&Names| reached[**other].contains(*module);
        reached[*module].iter().filter(mutual).copied().collect()
    };
    let all: BTreeSet<BTreeSet<&Names>> = graph.keys().map(circle).collect();
    let large = all.into_iter().filter(|circle| circle.len() > 2);
    let names = |circle: BTreeSet<&Names>| circle.into_iter().map(|m| m.join("/")).collect();
    large.map(names).collect()
}

/// Returns the files that a file uses, directly or by others.
fn reached<'a>(
    graph: &BTreeMap<&'a Names, BTreeSet<&'a Names>>,
    from: &'a Names,
) -> BTreeSet<&'a Names> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(module) = ahead.pop() {
        let new = graph[module].iter().filter(|other| found.insert(**other));
        ahead.extend(new.copied().collect::<Vec<_>>());
    }
    found
}

/// Returns the module of a file: `a/mod.rs` and `a.rs` are `a`, `lib.rs` and `main.rs` are the crate itself.
fn module_of(file: &str) -> Names {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// Returns the file in which the item of a path is defined, seen from a module.
fn resolve<'a>(
    files: &'a BTreeMap<Names, File>,
    from: &Names,
    path: &[String],
    depth: usize,
) -> Option<&'a Names> {
    let mut module = from.clone();
    let mut path = path;
    match path.first()?.as_str() {
        "crate" => (module, path) = (Vec::new(), &path[1..]),
        "self" => path = &path[1..],
        "super" => {
            while path.first().is_some_and(|name| name == "super") {
                module.pop()?;
                path = &path[1..];
            }
        }
        name => {
            let child = [&module[..], &[name.to_owned()]].concat();
            files.get(&child)?;
        }
    }
    while let Some((name, rest)) = path.split_first() {
        let child = [&module[..], std::slice::from_ref(name)].concat();
        if !files.contains_key(&child) {
            break;
        }
        (module, path) = (child, rest);
    }
    let (found, file) = files.get_key_value(&module)?;
    let exported = path.first().and_then(|name| file.exports.get(name));
    let followed = exported.filter(|_| depth < 5);
    followed
        .and_then(|path| resolve(files, &module, path, depth + 1))
        .or(Some(found))
}

/// The paths of a file.
#[derive(Default)]
struct File {
    uses: Vec<Names>,
    /// What `pub use` gives a name to.
    exports: BTreeMap<String, Names>,
}

impl File {
    fn parse(text: &str) -> File {
        let mut file = File::default();
        let code = code(text);
        let words: Vec<&str> = words(&code);
        let mut at = 0;
        while at < words.len() {
            match words[at] {
                "use" => {
                    let len = words[at..].iter().position(|word| *word == ";");
                    let end = at + len.unwrap_or(words.len() - at);
                    let is_export = at > 0 && ["pub", ")"].contains(&words[at - 1]);
                    file.add_tree(&mut Vec::new(), &words[at + 1..end], is_export);
                    at = end;
                }
                "crate" | "super" if words.get(at + 1) == Some(&"::") => {
                    let path = words[at..].iter().step_by(2).map(|name| (*name).to_owned());
                    let n = words[at + 1..]
                        .iter()
                        .step_by(2)
                        .take_while(|w| **w == "::");
                    let n = n.count();
                    file.uses.push(path.take(n + 1).collect());
                    at += 2 * n + 1;
                }
                _ => at += 1,
            }
        }
        file
    }

    /// Adds the paths of `a::{b, c::{d, e}}`, which follow `prefix`.
    fn add_tree(&mut self, prefix: &mut Names, words: &[&str], is_export: bool) {
        let n = words.iter().take_while(|word| **word != "{").count();
        let names = words[..n].iter().filter(|word| **word != "::");
        let depth = prefix.len();
        // A renamed item ends with `as NAME`.
        let (path, renamed) = match words[..n].iter().position(|word| *word == "as") {
            Some(at) => (
                names.take(at.div_ceil(2)).collect::<Vec<_>>(),
                words.get(at + 1),
            ),
            None => (names.collect(), None),
        };
        prefix.extend(path.into_iter().map(|name| (*name).to_owned()));
        if n < words.len() {
            for part in parts(&words[n + 1..words.len() - 1]) {
                self.add_tree(prefix, part, is_export);
            }
        } else if is_export {
            let name = renamed.map(|name| (*name).to_owned());
            let name = name.or_else(|| prefix.last().cloned());
            self.exports.extend(name.map(|name| (name, prefix.clone())));
        } else if ["crate", "super"].contains(&prefix.first().map_or("", String::as_str)) {
            self.uses.push(prefix.clone());
        }
        prefix.truncate(depth);
    }
}

/// Divides words at the commas outside of braces.
fn parts<'w>(words: &'w [&'w str]) -> Vec<&'w [&'w str]> {
    let mut depth = 0;
    let of_list = words.split(move |word| {
        depth += i32::from(*word == "{") - i32::from(*word == "}");
        depth == 0 && *word == ","
    });
    of_list.filter(|part| !part.is_empty()).collect()
}

/// Returns a file without its tests, comments and texts.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {");
    let lines = text[..end.unwrap_or(text.len())].lines();
    let plain = |line: &str| {
        let outside: Vec<&str> = line.split('"').step_by(2).collect();
        let code = outside.join(" ");
        code.split("//").next().unwrap_or_default().to_owned()
    };
    lines.map(plain).collect::<Vec<_>>().join("\n")
}

/// Returns the names and signs of a file.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let len = match first {
            _ if rest.starts_with("::") => 2,
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        words.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let files = files.iter();
        let owned = files.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        assert_eq!(circles(owned), expected);
    }

    #[test]
    fn three_files_that_use_each_other_are_a_circle() {
        let (a, b) = (
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn f() { crate::c::f() }"),
        );
        let circle: &[&[&str]] = &[&["a", "b", "c"]];
        check(&[a, b, ("c.rs", "use crate::{x::Y, a::{A, B}};")], circle);
        check(&[a, b, ("c/mod.rs", "use super::a;")], circle);
        check(&[a, b, ("c.rs", "use other::a::A;")], &[]);
        check(
            &[a, b, ("c.rs", "// use crate::a::A;\n\"crate::a::A\"")],
            &[],
        );
        check(&[a, ("b.rs", "use crate::a::A;")], &[]);
        let test = (
            "c.rs",
            "f();\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
        );
        check(&[a, b, test], &[]);
    }

    #[test]
    fn re_exports_are_followed_and_are_no_use() {
        let lib = ("lib.rs", "mod a;\npub use a::A;\npub use c::C as D;");
        let (a, b) = (("a.rs", "use crate::b::B;"), ("b.rs", "use crate::D;"));
        check(&[lib, a, b, ("c.rs", "use crate::A;")], &[&["a", "b", "c"]]);
        check(&[lib, a, b, ("c.rs", "use crate::Other;")], &[]);
    }

    #[test]
    fn parts_of_a_module_may_name_it() {
        let module = ("a.rs", "mod b;\nmod c;\nuse b::B;\nfn f() { c::g() }");
        check(
            &[
                module,
                ("a/b.rs", "use super::A;"),
                ("a/c.rs", "use super::A;"),
            ],
            &[],
        );
    }
}

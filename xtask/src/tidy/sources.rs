//! Checks one source file.

/// Maximum number of lines of a file.
const MOST_LINES: usize = 600;

/// How a file begins that a program wrote; nobody reads it from end to end.
const GENERATED: &str = "// This file is @generated";

/// The only places with unsafe code: the kernels, the library of their benchmark, and files as slices of memory, which no
/// library offers otherwise, since another program may change a file.
const KERNELS: &str = "crates/model/src/kernels/";
const MEASURED: &str = "crates/model/benches/gemm/";
const MAPPED: &str = "crates/model/src/storage/mapping.rs";

// Written in two halves, so that this file obeys its own rules.
const UNSAFE: &str = concat!("un", "safe");
const IGNORE: &str = concat!("#[", "ignore");

/// Returns a sentence for each broken rule in file `name`, a path relative to the workspace.
pub(super) fn untidy(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let n_lines = text.lines().count();
    if n_lines > MOST_LINES && !text.starts_with(GENERATED) {
        found.push(format!(
            "{name}: {n_lines} lines, at most {MOST_LINES}; split it"
        ));
    }
    for (line, number) in text.lines().zip(1..) {
        if line.contains(IGNORE) {
            found.push(format!(
                "{name}:{number}: an ignored test; fix it or delete it"
            ));
        }
        let may = [KERNELS, MEASURED, MAPPED];
        let may = may.iter().any(|place| name.starts_with(place));
        if !may && has_word(code(line), UNSAFE) {
            found.push(format!(
                "{name}:{number}: {UNSAFE} code outside {KERNELS} and {MAPPED}"
            ));
        }
    }
    found
}

/// Returns the line without its comment. (Two slashes in a text end it too, so a URL may hide the rest.)
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn has_word(code: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    code.split(|c| !is_letter(c)).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_short_safe_and_ignores_no_test() {
        let check = |name: &str, text: &str, expected: &[&str]| {
            assert_eq!(untidy(name, text), expected);
        };
        let block = format!("let x =\n    {UNSAFE} {{ f() }};");
        let expected =
            format!("crates/train/src/a.rs:2: {UNSAFE} code outside {KERNELS} and {MAPPED}");
        check("crates/train/src/a.rs", &block, &[&expected]);
        check("crates/model/src/kernels/a.rs", &block, &[]);
        check("crates/model/benches/gemm/a.rs", &block, &[]);
        check(MAPPED, &block, &[]);
        check(
            "a.rs",
            &format!("// {UNSAFE} is a word here\n#![deny({UNSAFE}_code)]"),
            &[],
        );
        check(
            "a.rs",
            &format!("{IGNORE} = \"slow\"]"),
            &["a.rs:1: an ignored test; fix it or delete it"],
        );
        check("a.rs", &"\n".repeat(600), &[]);
        check(
            "a.rs",
            &"\n".repeat(601),
            &["a.rs: 601 lines, at most 600; split it"],
        );
        check(
            "a.rs",
            &format!("{GENERATED} by a program{}", "\n".repeat(700)),
            &[],
        );
    }
}

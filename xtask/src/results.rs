//! Runs every shipped comparison and writes its results: the full page beside the runs, a summary to `docs/results.md`.

mod summary;

use std::fs;
use std::path::Path;
use std::process::Command;

/// The comparisons of `examples/compare`, in the order of the page.
const COMPARISONS: [&str; 7] = [
    "synthetic",
    "ebnerd",
    "kuairec",
    "census_income",
    "coat",
    "hillstrom",
    "tencent_video",
];

/// The full page: every comparison with its means, costs and settings. Not kept in the repository.
const FULL: &str = "runs/compare/results.md";
/// The summary that the repository keeps.
const SUMMARY: &str = "docs/results.md";

const HEAD: &str = "# Results

Written by `cargo xtask results`, which runs every comparison of `examples/compare` with `ncs compare` and joins their
`comparison.md`. Finished runs in `runs/compare` are reused. Needs the data beside the
project, in `../shared`. How methods are compared, and what a verdict means: docs/decisions/0010-comparing-methods.md.
The tables of all paired differences are left out; they are in `comparison.md` and, with figures and a link to every run, in
`report.html` of each folder. Significant differences are listed as sentences.
";

/// Runs the comparisons that are not finished, and writes both pages.
///
/// # Errors
/// A comparison fails, with its command; a page cannot be read or written, or has no table of means.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut text = HEAD.to_owned();
    for name in COMPARISONS {
        let out = format!("runs/compare/{name}");
        let command = format!("ncs compare examples/compare/{name}.toml --out {out}");
        println!("== {command}");
        let status = Command::new("cargo")
            .args(["run", "--release", "--quiet", "--"])
            .args(command.split(' ').skip(1))
            .current_dir(root)
            .status()
            .map_err(|error| format!("cannot run cargo: {error}"))?;
        if !status.success() {
            return Err(format!("failed: {command}"));
        }
        let file = root.join(&out).join("comparison.md");
        let page =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        text.push('\n');
        text.push_str(&one_heading_deeper(&without_differences(&page)));
    }
    write(root, SUMMARY, &summary::summary(&text)?)?;
    write(root, FULL, &text)?;
    println!("wrote {SUMMARY} and {FULL}");
    Ok(())
}

fn write(root: &Path, name: &str, text: &str) -> Result<(), String> {
    fs::write(root.join(name), text).map_err(|error| format!("{name}: {error}"))
}

/// Removes the tables of differences: caption, command and table are a paragraph each.
fn without_differences(text: &str) -> String {
    let mut paragraphs = text.trim_end().split("\n\n");
    let mut kept: Vec<&str> = Vec::new();
    while let Some(paragraph) = paragraphs.next() {
        if paragraph.contains(": differences to ") && paragraph.ends_with(':') {
            let _ = (paragraphs.next(), paragraphs.next());
        } else {
            kept.push(paragraph);
        }
    }
    kept.join("\n\n") + "\n"
}

/// Moves every heading one level deeper, so that the document becomes a section of a larger one.
fn one_heading_deeper(text: &str) -> String {
    let line = |line: &str| {
        if line.starts_with('#') {
            format!("#{line}\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_differences_are_left_out() {
        let text = "## a\n\na: means:\n\n    ncs\n\n| m |\n\na: differences to b:\n\n    ncs\n\n| d |\n\n- end\n";
        let expected = "## a\n\na: means:\n\n    ncs\n\n| m |\n\n- end\n";
        assert_eq!(without_differences(text), expected);
    }

    #[test]
    fn headings_move_one_level_deeper() {
        assert_eq!(
            one_heading_deeper("# A\n\ntext # b\n## C\n"),
            "## A\n\ntext # b\n### C\n"
        );
    }
}

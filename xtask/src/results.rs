//! `docs/results.md`: every shipped comparison, run to its end, one after the other.

use std::fs;
use std::path::Path;
use std::process::Command;

/// In the order of the document.
const COMPARISONS: [&str; 7] = [
    "synthetic",
    "ebnerd",
    "kuairec",
    "census_income",
    "coat",
    "hillstrom",
    "tencent_video",
];

const HEAD: &str = "# Results

Written by `cargo xtask results`, which runs every comparison of `examples/compare` with `ncs compare` and puts what each
says of itself below the other. Runs that are finished are found again in `runs/compare`. Needs the data beside the
project, in `../shared`. How methods are compared, and what a verdict means: [decision 10](decisions/0010-comparing-methods.md).
Left out here for length: the tables of all paired differences, which stand in `comparison.md` and, with figures and the
way to every run, in `report.html` of each folder. Differences that are separable are in the sentences.
";

/// Runs what is not finished, and writes the document.
///
/// # Errors
/// A comparison fails; the error names its command.
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
        let found =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        text.push('\n');
        text.push_str(&one_floor_down(&without_differences(&found)));
    }
    let file = root.join("docs/results.md");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// A document without the tables of differences: caption, command and table are a paragraph each.
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

/// The headings of a document as parts of a larger one.
fn one_floor_down(text: &str) -> String {
    let line = |line: &str| match line.starts_with('#') {
        true => format!("#{line}\n"),
        false => format!("{line}\n"),
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
    fn headings_go_one_floor_down() {
        assert_eq!(
            one_floor_down("# A\n\ntext # b\n## C\n"),
            "## A\n\ntext # b\n### C\n"
        );
    }
}

//! The summary of all comparisons: data sets, methods with their verdicts, and test means, from the full page.

use std::fmt::Write;

const HEAD: &str = "# Results: a summary

Written by `cargo xtask results` (about an hour on two cores; needs the data in `../shared`), which runs every comparison of
`examples/compare` with `ncs compare`. The full page, with all metrics, costs and settings, is written to
`runs/compare/results.md`; every number with a link to its run is in `runs/compare/NAME/report.html`. Both are not kept in the
repository. Finished runs are reused: delete `runs/compare` to measure again.

Every method gets the same number of tuning trials on validation rows, and as many weights in layers and heads as the shared
bottom. How methods are compared: [decision 10](decisions/0010-comparing-methods.md); the metrics: [evaluation](evaluation.md).
";

/// The product of two probabilities, in the tables of means beside the tasks.
const PRODUCT: &str = "CTCVR";

/// Returns the summary of `page`, the comparisons below each other with headings of level 2, data sets of level 3.
///
/// # Errors
/// A data set has no table of means: the wording of `ncs compare` has changed.
pub(super) fn summary(page: &str) -> Result<String, String> {
    let sets = data_sets(page)?;
    let (main, others): (Vec<_>, Vec<_>) = sets.iter().partition(|set| set.has("sparse_sharing"));
    let mut text = HEAD.to_owned();
    text.push_str(&data_table(&sets));
    text.push_str(&verdict_table(&main));
    text.push_str(&means_table(&main));
    for set in others {
        text.push_str(&means_row(set));
    }
    Ok(text)
}

/// One data set of a comparison.
struct DataSet<'a> {
    name: &'a str,
    description: &'a str,
    /// As written in the page: `[1, 2, 3]`.
    seeds: &'a str,
    command: &'a str,
    /// Its tasks, in order, without the product.
    tasks: Vec<&'a str>,
    means: Vec<Mean<'a>>,
    /// The significant differences, a line each: `cvr AUC: better than shared_bottom: ple (+0.01 ...), ...`.
    differences: Vec<&'a str>,
    /// Names of methods and what they are.
    methods: Vec<(&'a str, &'a str)>,
}

/// The mean of the first metric that a task has.
struct Mean<'a> {
    task: &'a str,
    method: &'a str,
    text: String,
}

impl<'a> DataSet<'a> {
    fn read(section: &'a str, seeds: &'a str) -> Result<Self, String> {
        let name = section.lines().next().unwrap_or_default();
        let missing = || format!("{name}: no table \"means over seeds\"");
        let after = |caption: &str| section.split_once(&format!("{name}: {caption}:"));
        let (_, rest) = after("means over seeds").ok_or_else(missing)?;
        let mut paragraphs = rest.split("\n\n").skip(1);
        let command = paragraphs.next().unwrap_or_default().trim();
        let means = means(paragraphs.next().ok_or_else(missing)?);
        let settings = after("methods and their settings").map_or("", |(_, rest)| rest);
        let mut tasks: Vec<&str> = means.iter().map(|mean| mean.task).collect();
        tasks.dedup();
        tasks.retain(|task| *task != PRODUCT);
        let lines = section.lines().filter_map(|line| line.strip_prefix("- "));
        Ok(DataSet {
            name,
            description: section.lines().nth(2).unwrap_or_default(),
            seeds,
            command,
            tasks,
            means,
            differences: lines.filter(|line| line.contains(" than ")).collect(),
            methods: cells(settings).map(|row| (row[0], row[1])).collect(),
        })
    }

    fn has(&self, method: &str) -> bool {
        self.means.iter().any(|mean| mean.method == method)
    }

    /// Returns the means of a method for every task, `–` where it has none.
    fn means_of(&self, method: &str) -> String {
        let of = |task: &&str| {
            let found = self
                .means
                .iter()
                .find(|mean| (mean.task, mean.method) == (*task, method));
            found.map_or("–".to_owned(), |mean| mean.text.clone())
        };
        let means: Vec<String> = self.tasks.iter().map(of).collect();
        means.join(" / ")
    }

    /// Returns true if the method is significantly `how` ("better" or "worse") than the reference for the task.
    fn is(&self, how: &str, task: &str, method: &str, reference: &str) -> bool {
        ["AUC", "squared error"].iter().any(|metric| {
            let start = format!("{task} {metric}: {how} than {reference}: ");
            let line = self
                .differences
                .iter()
                .find_map(|line| line.strip_prefix(&*start));
            line.is_some_and(|methods| format!(", {methods}").contains(&format!(", {method} (")))
        })
    }
}

/// Reads all data sets of the page, in order.
fn data_sets(page: &str) -> Result<Vec<DataSet<'_>>, String> {
    let mut sets = Vec::new();
    for comparison in page.split("\n## ").skip(1) {
        let seeds = between(comparison, "then seeds ", " with");
        for section in comparison.split("\n### ").skip(1) {
            if !section.starts_with("Summary\n") {
                sets.push(DataSet::read(section, seeds)?);
            }
        }
    }
    Ok(sets)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(found, _)| found)
}

/// Returns the cells of the first table in `text`, without its two header lines.
fn cells(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Reads a table of means: task, method, then metrics. A mean is that of AUC, else of the squared error.
fn means<'a>(table: &'a str) -> Vec<Mean<'a>> {
    let header = table.lines().next().unwrap_or_default().trim_matches('|');
    let place = |metric| header.split('|').position(|name| name.trim() == metric);
    let places = [place("AUC"), place("squared error")];
    let mean = |row: Vec<&'a str>| {
        let mut means = places.iter().flatten().map(|at| short(row[*at]));
        let text = means.find(|text| text != "–");
        Mean {
            task: row[0],
            method: row[1],
            text: text.unwrap_or("–".to_owned()),
        }
    };
    cells(table).map(mean).collect()
}

/// Shortens `**0.7575 ± 0.0093**` to `**.7575**`.
fn short(cell: &str) -> String {
    let Some((mean, _)) = cell.split_once(" ± ") else {
        return cell.to_owned();
    };
    let end = if mean.starts_with("**") { "**" } else { "" };
    mean.replacen("0.", ".", 1) + end
}

fn data_table(sets: &[DataSet]) -> String {
    let mut text =
        "\n| data set | rows and tasks | seeds | command |\n| --- | --- | --- | --- |\n".to_owned();
    for set in sets {
        let command = set.command.split(" --out").next().unwrap_or_default();
        let seeds = set.seeds.matches(',').count() + 1;
        let _ = writeln!(
            text,
            "| {} | {} | {seeds} | `{command}` |",
            set.name, set.description
        );
    }
    text
}

/// Returns a row for each method: what it is, and its verdicts against each reference.
fn verdict_table(sets: &[&DataSet]) -> String {
    const REFERENCES: [&str; 3] = ["single_task", "shared_bottom", "random_masks"];
    let mut text = "
## Methods and verdicts

Number of data sets on which the method is significantly better / worse than the reference, of all on which both ran: for the
first task, then for the last. By AUC (squared error for a ratio), at 5 %, after Holm's correction over the methods.

| method | what it is | against single_task | against shared_bottom | against random_masks |
| --- | --- | --- | --- | --- |
"
    .to_owned();
    for (method, what) in methods(sets) {
        let verdicts = REFERENCES.map(|reference| verdicts(sets, method, reference));
        let _ = writeln!(text, "| {method} | {what} | {} |", verdicts.join(" | "));
    }
    text
}

/// Returns `better / worse of n` for the first and the last task.
fn verdicts(sets: &[&DataSet], method: &str, reference: &str) -> String {
    if method == reference {
        return "–".to_owned();
    }
    let count = |how: &str, last: bool| {
        let holds = |set: &&&DataSet| {
            let task = if last {
                set.tasks.last()
            } else {
                set.tasks.first()
            };
            task.is_some_and(|task| set.is(how, task, method, reference))
        };
        sets.iter().filter(holds).count()
    };
    let n = sets
        .iter()
        .filter(|set| set.has(method) && set.has(reference))
        .count();
    let [first, last] =
        [false, true].map(|last| format!("{} / {}", count("better", last), count("worse", last)));
    format!("{first}, {last} of {n}")
}

/// Returns the test means of all methods on these data sets.
fn means_table(sets: &[&DataSet]) -> String {
    let names: Vec<&str> = sets.iter().map(|set| set.name).collect();
    let mut text = format!(
        "\n## Test means\n\nAUC of each task (squared error for a ratio), mean over seeds; the best mean of a task is bold.\n\n\
         | method | {} |\n|{}\n",
        names.join(" | "),
        " --- |".repeat(sets.len() + 1)
    );
    for (method, _) in methods(sets) {
        let means: Vec<String> = sets.iter().map(|set| set.means_of(method)).collect();
        let _ = writeln!(text, "| {method} | {} |", means.join(" | "));
    }
    text
}

/// Returns the test means of a data set that has methods of its own, a column for each method.
fn means_row(set: &DataSet) -> String {
    let names: Vec<&str> = set.methods.iter().map(|(name, _)| *name).collect();
    let means: Vec<String> = names.iter().map(|name| set.means_of(name)).collect();
    let rule = " --- |".repeat(names.len() + 1);
    let (names, means) = (names.join(" | "), means.join(" | "));
    format!(
        "\n| method | {names} |\n|{rule}\n| {} | {means} |\n",
        set.name
    )
}

/// Returns every method of these data sets once, in order, with what it is.
fn methods<'a>(sets: &[&DataSet<'a>]) -> Vec<(&'a str, &'a str)> {
    let mut methods: Vec<(&str, &str)> = Vec::new();
    for method in sets.iter().flat_map(|set| &set.methods) {
        if !methods.iter().any(|(name, _)| *name == method.0) {
            methods.push(*method);
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Results

## News

- Each method: 5 trials; then seeds [1, 2] with these settings.

### news

100 impressions.

- cvr AUC: better than shared_bottom: sparse_sharing (+0.0100 [+0.0090, +0.0110], adjusted p 0.004)
- cvr AUC: no significant difference from single_task: sparse_sharing

news: means over seeds:

    ncs compare news.toml --out runs/news

| task | method | AUC | squared error |
| --- | --- | ---: | ---: |
| ctr | shared_bottom | 0.7000 ± 0.0100 | – |
| ctr | sparse_sharing | **0.7100 ± 0.0100** | – |
| cvr | shared_bottom | – | 0.0690 ± 0.0010 |
| cvr | sparse_sharing | – | 0.0680 ± 0.0010 |
| CTCVR | shared_bottom | 0.5000 ± 0.0100 | – |

news: methods and their settings:

    ncs compare news.toml --out runs/news

| method | what it is | settings |
| --- | --- | --- |
| shared_bottom | One network. | a=1 |
| sparse_sharing | Masks. | a=2 |
";

    #[test]
    fn a_page_becomes_rows_of_data_verdicts_and_means() {
        let text = summary(PAGE).unwrap();
        for row in [
            "| news | 100 impressions. | 2 | `ncs compare news.toml` |",
            "| shared_bottom | One network. | 0 / 0, 0 / 0 of 0 | – | 0 / 0, 0 / 0 of 0 |",
            "| sparse_sharing | Masks. | 0 / 0, 0 / 0 of 0 | 0 / 0, 1 / 0 of 1 | 0 / 0, 0 / 0 of 0 |",
            "| shared_bottom | .7000 / .0690 |",
            "| sparse_sharing | **.7100** / .0680 |",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
    }

    #[test]
    fn a_page_without_means_is_refused() {
        let error = summary(&PAGE.replace("means over seeds", "averages")).unwrap_err();
        assert_eq!(error, "news: no table \"means over seeds\"");
    }
}

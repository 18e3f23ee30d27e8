//! The run file of a synthetic log, written beside the files of `ncs synth` and of the quick start.

use ncs_readers::split::Part;
use ncs_readers::synthetic::{
    CONVERSION_TIME, FIELDS, FurtherLabel, FurtherLabels, GROUP, LABELS, LIST_SEPARATOR,
    SyntheticPlan, TIME, TRUTHS, Written,
};

/// Files of a synthetic log, as named in its run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticFiles {
    /// Training part, relative to the run file.
    pub train: String,
    /// Validation part.
    pub valid: Option<String>,
    /// Test part.
    pub test: Option<String>,
    /// Separator of list items in a format without lists: CSV.
    pub separator: Option<char>,
    /// Where conversions come late: then training and validation rows are one file list, divided by row.
    pub late: Option<LateConversions>,
    /// Labels beside clicks and conversions: the tasks are then the click and these.
    pub further: FurtherLabels,
}

/// When conversions of a synthetic log are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateConversions {
    /// Days within which a conversion comes, as text.
    pub days: String,
    /// The first instant of the test rows, in ISO 8601.
    pub as_of: String,
}

impl LateConversions {
    /// Returns those of a log, if its conversions come late.
    pub fn of(plan: &SyntheticPlan) -> Option<LateConversions> {
        let (arrivals, delays) = (plan.arrivals.as_ref()?, plan.delays?);
        Some(LateConversions {
            days: format!("{:?}", delays.window_days),
            as_of: arrivals.test_from().to_string(),
        })
    }
}

impl SyntheticFiles {
    /// Collects the names of the written files; the run file is in the same folder. Lists in CSV files are
    /// texts.
    pub fn of(written: &[Written]) -> SyntheticFiles {
        let name = |part: Part| {
            let file = written.iter().find(|file| file.part == part)?;
            Some(file.path.file_name()?.to_string_lossy().into_owned())
        };
        let is_csv = |file: &Written| file.path.extension().is_some_and(|end| end == "csv");
        SyntheticFiles {
            train: name(Part::Train).unwrap_or_default(),
            valid: name(Part::Valid),
            test: name(Part::Test),
            separator: written.iter().any(is_csv).then_some(LIST_SEPARATOR),
            late: None,
            further: FurtherLabels::None,
        }
    }
}

/// Returns a run file for a synthetic log, ready for `ncs train`. `network` is a `network.kind`:
/// sparse_sharing, single_task or shared_bottom; only the first one has a mask search.
pub fn run_toml(files: &SyntheticFiles, network: &str, seed: u64) -> String {
    let search = match network {
        "sparse_sharing" => SEARCH,
        _ => "",
    };
    [
        HEADLINE,
        &format!("\n\nseed = {seed}\n"),
        &data(files),
        &columns(files.separator),
        &match files.further.labels() {
            [] => tasks(files.late.as_ref()),
            further => further_tasks(further),
        },
        &format!("\n[network]\nkind = {network:?}\n{SIZES}"),
        search,
        TRAINING,
    ]
    .concat()
}

/// First line of the run file of a synthetic log.
const HEADLINE: &str =
    "# A synthetic log: clicks, and what happens after clicks, with the true probabilities.";

const SIZES: &str = "dim = 8\nhidden = [128, 64]\ngram = \"full\"\n";

const SEARCH: &str = "
[search]
kind = \"gradient\"
epochs_per_round = 0.5
";

const TRAINING: &str = "
[training]
epochs = 4
batch = 512
learning_rate = 0.001
evaluations_per_epoch = 2
patience = 4
";

fn data(files: &SyntheticFiles) -> String {
    let line = |key: &str, file: &str| format!("{key} = {}\n", quoted(file));
    let optional = |key: &str, file: &Option<String>| {
        file.as_deref()
            .map(|file| line(key, file))
            .unwrap_or_default()
    };
    if let (Some(_), Some(valid)) = (&files.late, &files.valid) {
        return [
            "\n[data]\n",
            &format!("train = [{}, {}]\n", quoted(&files.train), quoted(valid)),
            &optional("test", &files.test),
            "split = { by = \"row\", valid = 0.2 }\n",
        ]
        .concat();
    }
    [
        "\n[data]\n",
        &line("train", &files.train),
        &optional("valid", &files.valid),
        &optional("test", &files.test),
    ]
    .concat()
}

/// Returns the columns; numbers that are codes, such as the hour, are categories.
fn columns(separator: Option<char>) -> String {
    let separator = separator.map(|c| format!(", separator = {}", quoted(&c.to_string())));
    let kind = |name: &str| match name {
        "tags" => format!(
            "{{ kind = \"list\"{} }}",
            separator.as_deref().unwrap_or("")
        ),
        "price" => "{ kind = \"numeric\", transform = \"log\" }".to_owned(),
        _ => "\"categorical\"".to_owned(),
    };
    let line = |field: &(&str, _)| format!("{} = {}\n", field.0, kind(field.0));
    let lines: String = FIELDS.iter().map(line).collect();
    format!("\n[columns]\n{lines}")
}

fn tasks(late: Option<&LateConversions>) -> String {
    let [click, conversion] = LABELS;
    let [p_click, p_conversion] = TRUTHS;
    let late = late.map_or(String::new(), |LateConversions { days, as_of }| {
        format!(
            "
[tasks.cvr.late]
click_time = {TIME:?}
conversion_time = {CONVERSION_TIME:?}
attribution_days = {days}
as_of = {as_of:?}
method = \"wait\"
"
        )
    });
    format!(
        "
[tasks.ctr]
label = {click:?}
truth = {p_click:?}

[tasks.cvr]
label = {conversion:?}
where = \"ctr\"
truth = {p_conversion:?}
{late}
[evaluation]
group = {GROUP:?}
"
    )
}

/// Returns the tasks of a log with further labels: the click, and these.
fn further_tasks(further: &[FurtherLabel]) -> String {
    let mut text = format!(
        "\n[tasks.click]\nlabel = {:?}\ntruth = {:?}\n",
        LABELS[0], TRUTHS[0]
    );
    let mut before = "click";
    for FurtherLabel {
        label,
        truth,
        follows,
        ..
    } in further
    {
        let of = if *follows { before } else { "click" };
        text +=
            &format!("\n[tasks.{label}]\nlabel = {label:?}\nwhere = {of:?}\ntruth = {truth:?}\n");
        before = label;
    }
    text + &format!("\n[evaluation]\ngroup = {GROUP:?}\n")
}

/// Returns a TOML string; its escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_config::RunFile;
    use ncs_readers::Split;
    use std::path::Path;

    #[test]
    fn the_run_file_is_valid_for_every_network() {
        let files = SyntheticFiles {
            train: "train \"1\".csv".to_owned(),
            valid: Some("valid.csv".to_owned()),
            test: Some("test.csv".to_owned()),
            separator: Some('|'),
            late: None,
            further: FurtherLabels::None,
        };
        for network in ["sparse_sharing", "single_task", "shared_bottom"] {
            for further in [FurtherLabels::Engagement, FurtherLabels::Chain] {
                let files = SyntheticFiles {
                    further,
                    ..files.clone()
                };
                let text = run_toml(&files, network, 7);
                let unseen = |_: &_| Ok(Vec::new());
                let file = RunFile::parse("run.toml", &text, Path::new(""), &[], &unseen);
                let file = file.unwrap_or_else(|error| panic!("{error}\n{text}"));
                let products = ncs_features::schema::products(&file.plan.schema.tasks);
                let names: Vec<&str> = products.iter().map(|p| &p.name[..]).collect();
                match further {
                    FurtherLabels::Chain => {
                        assert_eq!(names, ["click_cart", "click_cart_purchase"])
                    }
                    _ => assert_eq!(names, ["click_like", "click_long_view"]),
                }
            }
            let text = run_toml(&files, network, 7);
            let unseen = |_: &_| Ok(Vec::new());
            let file = RunFile::parse("run.toml", &text, Path::new(""), &[], &unseen);
            let file = file.unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert!(file.notes.is_empty(), "{:?}", file.notes);
            assert_eq!(file.plan.schema.fields.len(), FIELDS.len());
            assert_eq!(file.plan.data.train, ["train \"1\".csv"]);
            assert_eq!(file.plan.data.split, Split::Files);
            assert_eq!(file.plan.train.seed, 7);
        }
    }
}

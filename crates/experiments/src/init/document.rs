//! Formatting of the run file.

use super::kind::Kind;
use super::{Column, Draft, Split, TaskDraft};
use crate::progress::grouped;

/// Column at which comments start after shorter lines.
const COMMENT_COLUMN: usize = 40;

impl Draft {
    /// Formats the run file; `name` is its file name.
    pub(crate) fn text(&self, name: &str) -> String {
        let sections = [
            self.head(name),
            self.data(),
            self.columns(),
            self.tasks(),
            self.evaluation(),
        ];
        sections
            .into_iter()
            .filter(|section| !section.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn head(&self, name: &str) -> String {
        let rows = grouped(self.rows as u64);
        let rows = if self.all_rows {
            format!("all {rows} rows")
        } else {
            format!("{rows} of the rows")
        };
        format!(
            "# Written by ncs init from {rows}: the kinds of the columns; all other settings have their defaults.\n\
             # Check every column: a line that starts with # is not a feature, for the reason given. Then run:\n\
             #     ncs check {name}\n\
             #     ncs train {name} --out DIR\n"
        )
    }

    fn data(&self) -> String {
        let mut text = "[data]\n".to_owned();
        for (key, files) in [
            ("train", &self.train),
            ("valid", &self.valid),
            ("test", &self.test),
        ] {
            if !files.is_empty() {
                text += &format!("{key} = {}\n", array(files));
            }
        }
        for (key, value) in &self.reading {
            text += &format!("{key} = {value}\n");
        }
        if let Some(broken) = &self.broken {
            text += &format!(
                "{}\n",
                with_comment("max_broken_share = 0.01", &one_line(broken))
            );
        }
        text + &self.split()
    }

    fn split(&self) -> String {
        let share = |share: f64| format!("{:.1} %", 100.0 * share);
        match &self.split {
            Split::Files => String::new(),
            Split::Time { column, boundary } => format!(
                "# Validation: the latest {} of the rows, from {} on.\nsplit = {{ by = \"time\", column = {}, valid = 0.1 }}\n",
                share(boundary.share),
                boundary.from,
                quoted(column)
            ),
            Split::Hash { column, why } => format!(
                "{}split = {{ by = \"hash\", column = {}, valid = 0.1 }}\n",
                no_time(why),
                quoted(column)
            ),
            Split::Row { why } => {
                format!("{}split = {{ by = \"row\", valid = 0.1 }}\n", no_time(why))
            }
        }
    }

    fn columns(&self) -> String {
        let lines = self.columns.iter().map(line);
        let lines = lines.chain(self.exact_values());
        let unread = self.unreadable.iter().map(|(name, reason)| {
            with_comment(
                &format!("# {} = \"categorical\"", key(name)),
                &one_line(reason),
            )
        });
        let lines: Vec<String> = lines.chain(unread).collect();
        format!("[columns]\n{}\n", lines.join("\n"))
    }

    /// Returns features for the exact values of numbers, under unused names.
    fn exact_values(&self) -> impl Iterator<Item = String> {
        let is_used = |name: &str| self.columns.iter().any(|column| column.name == name);
        let columns = self.columns.iter().filter(|column| column.has_exact_values);
        columns.map(move |column| {
            let mut name = format!("{}_value", column.name);
            while is_used(&name) {
                name.push('_');
            }
            let setting = format!(
                "{} = {{ kind = \"categorical\", column = {} }}",
                key(&name),
                quoted(&column.name)
            );
            let why = "its exact values predict labels better than a scale";
            with_comment(&setting, why)
        })
    }

    fn tasks(&self) -> String {
        self.tasks.iter().map(task).collect::<Vec<_>>().join("\n")
    }

    fn evaluation(&self) -> String {
        let group = self.group.as_ref();
        group.map_or_else(String::new, |group| {
            format!("[evaluation]\ngroup = {}\n", quoted(group))
        })
    }
}

fn no_time(why: &str) -> String {
    format!(
        "# Validation: a random tenth of the rows. A time column is better, with the latest rows as\n\
         # validation; {}.\n",
        one_line(why)
    )
}

fn line(column: &Column) -> String {
    let setting = format!("{} = {}", key(&column.name), kind(&column.decision.kind));
    let out = column.left_out().map(one_line);
    let why = out.as_deref().unwrap_or(column.decision.why);
    let parts = [column.description.as_str(), why]
        .into_iter()
        .filter(|part| !part.is_empty());
    let comment = parts.collect::<Vec<_>>().join("; ");
    let hash = if out.is_some() { "# " } else { "" };
    with_comment(&format!("{hash}{setting}"), &comment)
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Categorical => "\"categorical\"".to_owned(),
        Kind::Numeric { missing } if missing.is_empty() => "\"numeric\"".to_owned(),
        Kind::Numeric { missing } => {
            let missing: Vec<String> = missing.iter().map(|text| quoted(text)).collect();
            format!(
                "{{ kind = \"numeric\", missing = [{}] }}",
                missing.join(", ")
            )
        }
        Kind::Vector { length } => format!("{{ kind = \"vector\", length = {length} }}"),
        Kind::List {
            separator: None,
            table: None,
        } => "\"list\"".to_owned(),
        Kind::List { separator, table } => {
            let separator = separator
                .map(|separator| format!(", separator = {}", quoted(&separator.to_string())));
            let table = table
                .as_ref()
                .map(|table| format!(", table = {}", quoted(table)));
            format!(
                "{{ kind = \"list\"{}{} }}",
                separator.unwrap_or_default(),
                table.unwrap_or_default()
            )
        }
    }
}

fn task(task: &TaskDraft) -> String {
    let mut text = format!(
        "[tasks.{}]\nlabel = {}\n",
        key(&task.name),
        quoted(&task.label)
    );
    if let Some(other) = &task.population {
        let line = format!("where = {}", quoted(other));
        text += &format!(
            "{}\n",
            with_comment(&line, "only clicked rows; a null label is unknown")
        );
    }
    if task.is_ratio {
        text += "loss = \"ratio\"\n";
    }
    text
}

fn with_comment(line: &str, comment: &str) -> String {
    format!("{line:COMMENT_COLUMN$} # {comment}")
}

fn array(items: &[String]) -> String {
    match items {
        [one] => quoted(one),
        items => {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Returns a bare key if possible. A key on several lines would break out of its comment.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    let quoted = quoted(name);
    if quoted.contains('\n') {
        format!("{name:?}")
    } else {
        quoted
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

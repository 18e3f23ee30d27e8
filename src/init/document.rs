//! The run file as text.

use super::kind::Kind;
use super::{Column, Draft, Split, TaskDraft};
use crate::progress::grouped;

/// A line's place for comments, where the line is not longer.
const COMMENTS_AT: usize = 40;

impl Draft {
    /// The run file; `name` is what it is to be called.
    pub(crate) fn text(&self, name: &str) -> String {
        let chapters = [
            self.head(name),
            self.data(),
            self.columns(),
            self.tasks(),
            self.evaluation(),
        ];
        chapters
            .into_iter()
            .filter(|chapter| !chapter.is_empty())
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
            "# Written by ncs init from {rows}: the columns by kind, all else at its default.\n\
             # Check every column: a line that begins with # is no feature, for the reason beside it. Then:\n\
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

    /// Categories of the exact values of numbers, under names that no column has.
    fn exact_values(&self) -> impl Iterator<Item = String> {
        let is_taken = |name: &str| self.columns.iter().any(|column| column.name == name);
        let columns = self.columns.iter().filter(|column| column.has_exact_values);
        columns.map(move |column| {
            let mut name = format!("{}_value", column.name);
            while is_taken(&name) {
                name.push('_');
            }
            let setting = format!(
                "{} = {{ kind = \"categorical\", column = {} }}",
                key(&name),
                quoted(&column.name)
            );
            let why = "its exact values predict labels better than a scale does";
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
        "# Validation: a tenth of the rows at random. A time column would serve better, with the latest rows\n\
         # as validation; {}.\n",
        one_line(why)
    )
}

fn line(column: &Column) -> String {
    let setting = format!("{} = {}", key(&column.name), kind(&column.decision.kind));
    let out = column.left_out().map(one_line);
    let why = out.as_deref().unwrap_or(column.decision.why);
    let parts = [column.described.as_str(), why]
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
            with_comment(&line, "counts clicked rows only; a null label is unknown")
        );
    }
    if task.is_ratio {
        text += "loss = \"ratio\"\n";
    }
    text
}

fn with_comment(line: &str, comment: &str) -> String {
    format!("{line:COMMENTS_AT$} # {comment}")
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

/// A bare key where that is possible. One on several lines would break out of its comment.
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

//! Settings as TOML text. The order of keys says the order of fields and tasks, so it is kept: every
//! table below the first floor is written inline.

use toml::{Table, Value};

/// A document: single settings first, then a table for each chapter.
pub(crate) fn document(settings: &Value) -> String {
    let empty = Table::new();
    let chapters = settings.as_table().unwrap_or(&empty);
    let is_chapter = |(_, value): &(&String, &Value)| value.is_table();
    let (tables, single): (Vec<_>, Vec<_>) = chapters.iter().partition(is_chapter);
    let mut text: String = single.into_iter().map(line).collect();
    for (name, table) in tables {
        text += &format!("\n[{}]\n", key(name));
        text.extend(table.as_table().into_iter().flatten().map(line));
    }
    text
}

fn line((name, value): (&String, &Value)) -> String {
    format!("{} = {}\n", key(name), inline(value))
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(entries) => {
            let entry =
                |(name, value): (&String, &Value)| format!("{} = {}", key(name), inline(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        single => single.to_string(),
    }
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        Value::String(name.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_in_their_order() {
        let text = "seed = 3\n\n[data]\ntrain = [\"a \\\"b\\\".csv\", \"c\"]\n\n[columns]\n\
                    b = { kind = \"list\", max_values = 2 }\n\"odd name\" = \"numeric\"\na = \"list\"\n\n\
                    [tasks]\ncvr = { label = \"x\", weight = 1.5 }\nctr = { label = \"y\" }\n";
        let settings = Value::Table(text.parse().unwrap());
        let written = document(&settings);
        let read: Table = written.parse().unwrap();
        assert_eq!(Value::Table(read.clone()), settings);
        let columns: Vec<&String> = read["columns"].as_table().unwrap().keys().collect();
        assert_eq!(columns, ["b", "odd name", "a"]);
        assert_eq!(
            read["tasks"].as_table().unwrap().keys().next().unwrap(),
            "cvr"
        );
    }
}

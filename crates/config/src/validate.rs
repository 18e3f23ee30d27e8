//! Whether a run file has the shape that its schema states: keys, types, choices and ranges.

use serde_json::{Map, Value as Json};

use super::problem::{Problem, hint, listed};
use super::tree::{Entry, Node, Span, Value};

/// Every way in which `node` differs from `schema`.
pub(crate) fn problems(schema: &Json, node: &Node) -> Vec<Problem> {
    let mut check = Check {
        definitions: &schema["$defs"],
        found: Vec::new(),
    };
    check.node(schema, node, "", &node.place);
    check.found
}

struct Check<'s> {
    definitions: &'s Json,
    found: Vec<Problem>,
}

impl<'s> Check<'s> {
    /// `path` is the dotted key, `place` where the key stands.
    fn node(&mut self, schema: &'s Json, node: &Node, path: &str, place: &Span) {
        let leaves = self.leaves(schema);
        let fitting: Vec<&Json> = leaves
            .iter()
            .copied()
            .filter(|leaf| is_kind(leaf, &node.value))
            .collect();
        if fitting.is_empty() {
            let wanted = wanted(&leaves);
            return self.say(
                &node.place,
                format!("{path} is {}; it must be {wanted}", node.value),
            );
        }
        match &node.value {
            Value::Text(text) => self.text(&leaves, text, path, &node.place),
            Value::Whole(number) => self.number(fitting[0], *number as f64, path, &node.place),
            Value::Number(number) => self.number(fitting[0], *number, path, &node.place),
            Value::Bool(_) => {}
            Value::List(items) => self.list(fitting[0], items, path, &node.place),
            Value::Table(_) => self.choice(&fitting, node, path, place),
        }
    }

    /// The schemas that `schema` chooses between, references followed.
    fn leaves(&self, schema: &'s Json) -> Vec<&'s Json> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.leaves(&self.definitions[name.trim_start_matches("#/$defs/")]);
        }
        let choices = schema.get("oneOf").or_else(|| schema.get("anyOf"));
        match choices.and_then(Json::as_array) {
            Some(choices) => choices
                .iter()
                .flat_map(|choice| self.leaves(choice))
                .collect(),
            None => vec![schema],
        }
    }

    /// `all` are the schemas of all kinds of values that the key takes.
    fn text(&mut self, all: &[&Json], text: &str, path: &str, place: &Span) {
        let is_number = |leaf: &&&Json| leaf["type"] == "integer" || leaf["type"] == "number";
        let numbers: Vec<&Json> = all.iter().filter(is_number).copied().collect();
        let is_text = |leaf: &&&Json| leaf["type"].as_str().unwrap_or("string") == "string";
        let leaves: Vec<&Json> = all.iter().filter(is_text).copied().collect();
        let names: Vec<&str> = leaves.iter().flat_map(|leaf| constants(leaf)).collect();
        let n_letters = text.chars().count() as u64;
        let free = leaves.iter().find(|leaf| constants(leaf).is_empty());
        if let Some(leaf) = free {
            if leaf["maxLength"]
                .as_u64()
                .is_some_and(|most| n_letters > most)
            {
                self.say(
                    place,
                    format!("{path} is {text:?}; it must be one character"),
                );
            } else if leaf["minLength"]
                .as_u64()
                .is_some_and(|least| n_letters < least)
            {
                self.say(place, format!("{path} is empty"));
            }
        } else if !names.contains(&text) {
            let hint = hint(text, names);
            let or_number = match &numbers[..] {
                [] => String::new(),
                numbers if hint.ends_with('?') => format!(" It may also be {}", wanted(numbers)),
                numbers => format!("; or {}", wanted(numbers)),
            };
            self.say(
                place,
                format!("{path} is the text {text:?}{hint}{or_number}"),
            );
        }
    }

    fn number(&mut self, leaf: &Json, number: f64, path: &str, place: &Span) {
        let fits = |number: f64| number.is_finite() && is_within(leaf, number);
        // Many numbers are used in 32 bits: there, too, they must be what is asked for.
        let in_32_bits = f64::from(number as f32);
        if leaf["type"] == "number" && fits(number) && !fits(in_32_bits) {
            let wanted = range(leaf);
            let text =
                format!("{path} is {number:e}, in 32 bits {in_32_bits:e}; it must be {wanted}");
            return self.say(place, text);
        }
        if !fits(number) {
            let wanted = match range(leaf) {
                range if number.is_finite() => range,
                range if range == FINITE => range,
                range => format!("{FINITE}, {range}"),
            };
            self.say(place, format!("{path} is {number}; it must be {wanted}"));
        }
    }

    fn list(&mut self, leaf: &'s Json, items: &[Node], path: &str, place: &Span) {
        let least = leaf["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            let found = match items.len() {
                0 => "is an empty list".to_owned(),
                n => format!("has {n} entries"),
            };
            self.say(place, format!("{path} {found}; it needs {least} or more"));
        }
        if let Some(most) = leaf["maxItems"]
            .as_u64()
            .filter(|most| (items.len() as u64) > *most)
        {
            let n = items.len();
            return self.say(place, format!("{path} has {n} entries; it can have {most}"));
        }
        for (i, item) in items.iter().enumerate() {
            self.node(&leaf["items"], item, &format!("{path}[{i}]"), &item.place);
        }
    }

    /// Of several tables the one whose tag (`kind`, `by`) is the table's.
    fn choice(&mut self, leaves: &[&'s Json], node: &Node, path: &str, place: &Span) {
        let Some((tag, names)) = tags(leaves) else {
            return self.table(leaves[0], node, path, place);
        };
        let Some(Entry { node: found, .. }) = node.get(tag) else {
            return self.say(place, format!("{path} needs {tag}: {}", listed(&names)));
        };
        let at = names
            .iter()
            .position(|name| found.value == Value::Text((*name).to_owned()));
        match at {
            Some(at) => self.table(leaves[at], node, path, place),
            None => {
                let hint = match &found.value {
                    Value::Text(text) => hint(text, names),
                    _ => format!("; known: {}", listed(&names)),
                };
                let path = dotted(path, tag);
                self.say(&found.place, format!("{path} is {}{hint}", found.value));
            }
        }
    }

    fn table(&mut self, leaf: &'s Json, node: &Node, path: &str, place: &Span) {
        let none = Map::new();
        let known = leaf["properties"].as_object().unwrap_or(&none);
        let required = leaf["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str);
        for key in required.filter(|key| node.get(key).is_none()) {
            let place = if path.is_empty() { &Span::File } else { place };
            let text = missing(&leaf["properties"][key], &dotted(path, key));
            self.say(place, text);
        }
        for entry in node.entries() {
            if let Some(schema) = leaf["properties"].get(&entry.key) {
                self.node(schema, &entry.node, &dotted(path, &entry.key), &entry.place);
            } else if leaf["additionalProperties"].is_object() {
                let path = dotted(path, &entry.key);
                self.node(
                    &leaf["additionalProperties"],
                    &entry.node,
                    &path,
                    &entry.place,
                );
            } else if leaf["additionalProperties"] != true {
                let hint = hint(&entry.key, known.keys().map(String::as_str));
                let inside = if path.is_empty() {
                    String::new()
                } else {
                    format!(" in {path}")
                };
                self.say(
                    &entry.place,
                    format!("unknown key {}{inside}{hint}", entry.key),
                );
            }
        }
        if node.entries().is_empty() && leaf["minProperties"].as_u64().is_some_and(|n| n > 0) {
            self.say(
                place,
                format!("{path} is empty; it needs one entry or more"),
            );
        }
    }

    fn say(&mut self, place: &Span, text: String) {
        self.found.push(Problem::new(place.clone(), text));
    }
}

/// `[tasks] is missing; state it, such as [tasks.ctr] label = "click"`, where the schema has an
/// example; otherwise the key and the first line of what it is.
fn missing(schema: &Json, path: &str) -> String {
    if let Some(example) = schema["examples"].get(0) {
        return format!(
            "[{path}] is missing; state it, such as {}",
            shown(example, path)
        );
    }
    let says = schema["description"].as_str().unwrap_or_default();
    let says = says.lines().next().unwrap_or_default();
    format!("{path} is missing: {}", says.trim_end_matches('.'))
}

/// An example table as TOML on one line: its first entry.
fn shown(example: &Json, path: &str) -> String {
    let first = example.as_object().and_then(|table| table.iter().next());
    match first {
        Some((key, inner)) if inner.is_object() => shown(inner, &dotted(path, key)),
        Some((key, value)) => format!("[{path}] {key} = {value}"),
        None => format!("[{path}]"),
    }
}

fn dotted(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn is_kind(leaf: &Json, value: &Value) -> bool {
    let kind = leaf["type"].as_str().unwrap_or("string");
    match value {
        Value::Text(_) => kind == "string",
        Value::Whole(_) => kind == "integer" || kind == "number",
        Value::Number(_) => kind == "number",
        Value::Bool(_) => kind == "boolean",
        Value::List(_) => kind == "array",
        Value::Table(_) => kind == "object",
    }
}

/// The texts that a schema allows; none where any text will do.
fn constants(leaf: &Json) -> Vec<&str> {
    let choices = leaf["enum"].as_array().into_iter().flatten();
    choices
        .chain(leaf.get("const"))
        .filter_map(Json::as_str)
        .collect()
}

/// The key whose constant tells several tables apart, and its constants, in order.
fn tags<'s>(leaves: &[&'s Json]) -> Option<(&'s str, Vec<&'s str>)> {
    let properties = leaves[0]["properties"].as_object()?;
    let constant = |leaf: &'s Json, key: &str| leaf["properties"][key]["const"].as_str();
    let of_key = |key: &'s String| {
        let names = leaves
            .iter()
            .map(|leaf| constant(leaf, key))
            .collect::<Option<Vec<_>>>()?;
        Some((key.as_str(), names))
    };
    properties.keys().find_map(of_key)
}

/// Requirement on a value, in words: `a whole number or a table`.
fn wanted(leaves: &[&Json]) -> String {
    let mut words: Vec<String> = Vec::new();
    let names: Vec<&str> = leaves.iter().flat_map(|leaf| constants(leaf)).collect();
    for leaf in leaves {
        let word = match leaf["type"].as_str().unwrap_or("string") {
            "integer" => "a whole number".to_owned(),
            "number" => "a number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => "a list".to_owned(),
            "object" => "a table".to_owned(),
            _ if names.is_empty() => "a text".to_owned(),
            _ => format!("one of {}", listed(&names)),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", or ")
}

/// Whether a number is in the range of its schema, the one of its type included.
fn is_within(leaf: &Json, number: f64) -> bool {
    let bound = |key: &str| leaf[key].as_f64();
    bound("minimum").is_none_or(|least| number >= least)
        && bound("exclusiveMinimum").is_none_or(|least| number > least)
        && most(leaf).is_none_or(|most| number <= most)
        && bound("exclusiveMaximum").is_none_or(|most| number < most)
}

/// The largest number that is allowed: as stated, or as the type holds.
fn most(leaf: &Json) -> Option<f64> {
    let of_type = (leaf["format"] == "uint32").then_some(f64::from(u32::MAX));
    leaf["maximum"].as_f64().or(of_type)
}

/// Requirement on a number that has no range.
const FINITE: &str = "a finite number";

/// A numeric range in words: `above 0 and at most 1`.
fn range(leaf: &Json) -> String {
    let words = [
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    ];
    let bound = |key: &str| match key {
        "maximum" => most(leaf),
        key => leaf[key].as_f64(),
    };
    let config = |(key, word): (&str, &str)| bound(key).map(|bound| format!("{word} {bound}"));
    let bounds: Vec<String> = words.into_iter().filter_map(config).collect();
    if bounds.is_empty() {
        FINITE.to_owned()
    } else {
        bounds.join(" and ")
    }
}

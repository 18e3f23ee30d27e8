//! A run file as a tree of values, each with the place that it was written at.

use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Position of a key or a value in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Span {
    /// The file as a whole: what should be there is missing.
    File,
    /// A line of the file, from 1.
    Line(usize),
    /// An override of the command line, as written after `--set`.
    Set(String),
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Span,
    pub(crate) value: Value,
}

/// A TOML value. Dates are texts here: no setting needs more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and what it holds, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Span,
    pub(crate) node: Node,
}

impl Node {
    /// Reads TOML text.
    ///
    /// # Errors
    /// The text is not TOML: the line and what the parser says.
    pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
        let lines = Lines::of(text);
        match DeTable::parse(text) {
            Ok(table) => Ok(lines.table(&table)),
            Err(error) => Err(lines.syntax_problem(text, &error)),
        }
    }

    /// Applies an override `a.b=value`; the value is TOML, or a text where it is not.
    ///
    /// # Errors
    /// There is no `=`, or the key is not a dotted TOML key.
    pub(crate) fn set(&mut self, assignment: &str) -> Result<(), Problem> {
        let place = Span::Set(assignment.to_owned());
        let wrong = || Problem::new(place.clone(), ASSIGNMENT_WANTED);
        let (path, value) = parts(assignment).ok_or_else(wrong)?;
        let mut value = literal(value);
        value.move_to(&place);
        self.insert(&path, value);
        Ok(())
    }

    /// The entry `key` of a table.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// Whether there is a key at `path`.
    pub(crate) fn states(&self, path: &[&str]) -> bool {
        let mut node = Some(self);
        for key in path {
            node = node.and_then(|node| node.get(key)).map(|entry| &entry.node);
        }
        node.is_some()
    }

    /// The entries of a table; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Returns where the key at `path` was written, or the deepest table above it.
    pub(crate) fn place_of(&self, path: &[&str]) -> Span {
        let mut place = self.place.clone();
        let mut node = self;
        for key in path {
            if let Value::List(items) = &node.value {
                let item = key.parse().ok().and_then(|at: usize| items.get(at));
                let Some(item) = item else { break };
                node = item;
                continue;
            }
            let Some(entry) = node.get(key) else { break };
            place = entry.place.clone();
            node = &entry.node;
        }
        place
    }

    /// Makes the tree of what a program states: nothing of it was written at a line.
    pub(crate) fn of_toml(value: &toml::Value) -> Node {
        let place = Span::File;
        let value = match value {
            toml::Value::String(text) => Value::Text(text.clone()),
            toml::Value::Integer(number) => Value::Whole(*number),
            toml::Value::Float(number) => Value::Number(*number),
            toml::Value::Boolean(truth) => Value::Bool(*truth),
            toml::Value::Datetime(moment) => Value::Text(moment.to_string()),
            toml::Value::Array(items) => Value::List(items.iter().map(Node::of_toml).collect()),
            toml::Value::Table(table) => {
                let entries = table.iter().map(|(key, value)| Entry {
                    key: key.clone(),
                    place: place.clone(),
                    node: Node::of_toml(value),
                });
                Value::Table(entries.collect())
            }
        };
        Node { place, value }
    }

    /// The same without places.
    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::Text(text) => toml::Value::String(text.clone()),
            Value::Whole(number) => toml::Value::Integer(*number),
            Value::Number(number) => toml::Value::Float(*number),
            Value::Bool(truth) => toml::Value::Boolean(*truth),
            Value::List(items) => toml::Value::Array(items.iter().map(Node::to_toml).collect()),
            Value::Table(entries) => {
                let pair = |entry: &Entry| (entry.key.clone(), entry.node.to_toml());
                toml::Value::Table(entries.iter().map(pair).collect())
            }
        }
    }

    fn insert(&mut self, path: &[String], value: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Node {
                place: value.place.clone(),
                value: Value::Table(Vec::new()),
            };
        }
        let Value::Table(entries) = &mut self.value else {
            return;
        };
        let at = entries.iter().position(|entry| entry.key == *key);
        let at = at.unwrap_or_else(|| {
            let node = Node {
                place: value.place.clone(),
                value: Value::Table(Vec::new()),
            };
            entries.push(Entry {
                key: key.clone(),
                place: value.place.clone(),
                node,
            });
            entries.len() - 1
        });
        if rest.is_empty() {
            entries[at].place = value.place.clone();
        }
        entries[at].node.insert(rest, value);
    }

    fn move_to(&mut self, place: &Span) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_to(place)),
            Value::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.place = place.clone();
                entry.node.move_to(place);
            }),
            _ => {}
        }
    }
}

/// Returns what a message calls a value: `the text "three"`, `2.5`, `a list`.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(out, "the text {text:?}"),
            Value::Whole(number) => write!(out, "{number}"),
            Value::Number(number) => write!(out, "{number}"),
            Value::Bool(truth) => write!(out, "{truth}"),
            Value::List(_) => out.write_str("a list"),
            Value::Table(_) => out.write_str("a table"),
        }
    }
}

/// Message for an invalid override.
pub const ASSIGNMENT_WANTED: &str =
    "expected KEY=VALUE with a dotted key, such as training.epochs=3";

/// Whether `text` is `KEY=VALUE` with a dotted key.
pub fn is_assignment(text: &str) -> bool {
    parts(text).is_some()
}

fn parts(assignment: &str) -> Option<(Vec<String>, &str)> {
    let (key, value) = assignment.split_once('=')?;
    Some((dotted(key)?, value))
}

/// The parts of a dotted key, by TOML's own rules for quotes.
fn dotted(key: &str) -> Option<Vec<String>> {
    let mut node = &Node::parse(&format!("{key} = 0")).ok()?;
    let mut path = Vec::new();
    while let [entry] = node.entries() {
        path.push(entry.key.clone());
        node = &entry.node;
    }
    (node.value == Value::Whole(0)).then_some(path)
}

/// `text` as a TOML value, or else as a text.
fn literal(text: &str) -> Node {
    let parsed = Node::parse(&format!("value = {text}")).ok();
    let only = parsed.filter(|node| node.entries().len() == 1);
    let value = only.and_then(|node| node.get("value").map(|entry| entry.node.value.clone()));
    let value = value.unwrap_or_else(|| Value::Text(text.to_owned()));
    Node {
        place: Span::File,
        value,
    }
}

/// The byte positions at which lines start.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Lines {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines {
            starts: std::iter::once(0).chain(after).collect(),
        }
    }

    fn place(&self, byte: usize) -> Span {
        Span::Line(self.starts.partition_point(|start| *start <= byte))
    }

    fn syntax_problem(&self, text: &str, error: &toml::de::Error) -> Problem {
        let place = error
            .span()
            .map_or(Span::File, |span| self.place(span.start));
        let found = error
            .span()
            .and_then(|span| text.get(span))
            .unwrap_or_default();
        match error.message() {
            "duplicate key" => Problem::new(place, format!("{found} is stated twice")),
            message => Problem::new(place, format!("not TOML: {message}")),
        }
    }

    fn table(&self, table: &Spanned<DeTable<'_>>) -> Node {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            Entry {
                key: key.get_ref().to_string(),
                place: self.place(key.span().start),
                node: self.node(value),
            }
        };
        let entries = table.get_ref().iter().map(entry).collect();
        Node {
            place: Span::File,
            value: Value::Table(entries),
        }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => whole(number.as_str(), number.radix()),
            DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => {
                let spanned = Spanned::new(value.span(), table.clone());
                self.table(&spanned).value
            }
        };
        Node { place, value }
    }
}

/// A number too large for 64 bits is beyond every setting's range: infinity says so.
fn whole(digits: &str, radix: u32) -> Value {
    i64::from_str_radix(digits, radix).map_or(Value::Number(f64::INFINITY), Value::Whole)
}

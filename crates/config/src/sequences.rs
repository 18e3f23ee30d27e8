//! Behaviour sequences: each attribute of their events is a feature, `SEQUENCE.ATTRIBUTE`.

use indexmap::IndexMap;
use ncs_features::{
    Attention, Beside, EventAges, EventAttribute, EventDecay, Field, IdSpacePlan, MultiHead,
    Newest, NumericPlan, Pooling, SequencePooling, TablePlan,
};

use super::checks::Checks;
use super::column_kinds::{Ids, Read, ids};
use super::problem::hint;
use super::times;
use super::toml_types::{self, Column, ColumnSettings, RunFile};

/// Widths of the attention's hidden layers.
const HIDDEN: [u32; 2] = [32, 16];

/// Number of heads.
const HEADS: u32 = 4;

/// An attribute of a sequence.
pub(crate) struct Attribute<'c> {
    /// The name of its feature.
    pub(crate) full_name: String,
    sequence: &'c str,
    name: &'c str,
    settings: &'c toml_types::EventAttribute,
}

impl Attribute<'_> {
    /// Returns the path of a key of the attribute.
    pub(crate) fn place<'k>(&'k self, key: &'k str) -> [&'k str; 5] {
        ["columns", self.sequence, "attributes", self.name, key]
    }

    fn say(&self, key: &str, text: &str, checks: &mut Checks<'_>) {
        let [columns, sequence, attributes, name, _] = self.place(key);
        let text = format!("{columns}.{sequence}.{attributes}.{name}.{key} {text}");
        checks.say(&self.place(key), text);
    }
}

/// Returns the attributes of all sequences, in the order of the run file.
pub(crate) fn attributes(config: &RunFile) -> Vec<Attribute<'_>> {
    let columns = config.columns.iter();
    let of_column = columns.flat_map(|(sequence, column)| {
        let attributes = match column {
            Column::With(ColumnSettings::Sequence { attributes, .. }) => Some(attributes),
            _ => None,
        };
        let attributes = attributes.into_iter().flatten();
        attributes.map(move |(name, settings)| Attribute {
            full_name: format!("{sequence}.{name}"),
            sequence,
            name,
            settings,
        })
    });
    of_column.collect()
}

/// Appends the attributes of one sequence to the columns.
pub(crate) fn read<'n>(
    sequence: &str,
    config: &Column,
    attributes: &'n [Attribute<'_>],
    columns: &mut IndexMap<&'n str, Read>,
    checks: &mut Checks<'_>,
) {
    let Column::With(ColumnSettings::Sequence {
        max_length,
        newest,
        separator,
        ..
    }) = config
    else {
        return;
    };
    let pooling = pooling(sequence, config, checks);
    let (decay, beside) = decay(sequence, config, checks);
    let first = attributes
        .iter()
        .position(|about| about.sequence == sequence);
    let attribute = EventAttribute {
        sequence: first.unwrap_or(0) as u32,
        pooling,
        newest: match newest {
            toml_types::Newest::Last => Newest::Last,
            toml_types::Newest::First => Newest::First,
        },
        target: None,
        decay,
    };
    for about in attributes.iter().filter(|about| about.sequence == sequence) {
        let read = Read {
            column: about.settings.column.clone(),
            missing: about.settings.missing.clone(),
            ids: ids_of(about, checks),
            pooling: Some(Pooling::Events(attribute)),
            separator: *separator,
            max_values: Some(match pooling {
                SequencePooling::Last => 1,
                _ => *max_length,
            }),
            beside: beside.clone(),
        };
        if columns.insert(&about.full_name, read).is_some() {
            let name = &about.full_name;
            let text = format!("two features have the name {name:?}; rename one");
            checks.say(&about.place("column")[..4], text);
        }
    }
}

/// Returns whether weights decay with age, and where the ages are.
fn decay(sequence: &str, config: &Column, checks: &mut Checks<'_>) -> (Option<EventDecay>, Beside) {
    let Column::With(ColumnSettings::Sequence {
        pooling,
        decay: Some(stated),
        ..
    }) = config
    else {
        return (None, Beside::None);
    };
    let mut say = |key: &str, what: &str| {
        let text = format!("columns.{sequence}.decay{what}");
        checks.say(&["columns", sequence, "decay", key], text);
    };
    let column = match (&stated.ages, &stated.times, &stated.at) {
        (Some(ages), None, None) => ages,
        (None, Some(times), Some(_)) => times,
        (None, None, _) => {
            say(
                "half_life",
                " needs the age of each event; state ages, or times and at",
            );
            return (None, Beside::None);
        }
        (None, Some(times), None) => {
            say(
                "times",
                ".times needs at, the column with the time from which ages are counted",
            );
            times
        }
        (Some(ages), None, Some(_)) => {
            say(
                "at",
                ".at goes with times, the list of the times of the events",
            );
            ages
        }
        (Some(ages), Some(_), _) => {
            say("ages", " states both ages and times; keep one");
            ages
        }
    };
    if stated.unit.is_some() && stated.times.is_none() {
        say(
            "unit",
            ".unit goes with times; ages are in the unit of half_life",
        );
    }
    if *pooling == toml_types::SequencePooling::Last {
        say(
            "half_life",
            " weighs events against each other, and pooling = \"last\" keeps one; use another pooling",
        );
    }
    let ages = EventAges {
        column: column.clone(),
        at: stated.at.clone(),
        unit: stated.unit.map(times::time_unit),
        half_life: stated.half_life,
    };
    let decay = match stated.learned {
        true => EventDecay::Learned,
        false => EventDecay::Stated,
    };
    (Some(decay), Beside::Ages(ages))
}

/// Checks that the columns of ages are in every file.
pub(crate) fn check_ages(config: &RunFile, checks: &mut Checks<'_>) {
    for (sequence, column) in &config.columns {
        let Column::With(ColumnSettings::Sequence {
            decay: Some(stated),
            ..
        }) = column
        else {
            continue;
        };
        let columns = [
            ("ages", &stated.ages),
            ("times", &stated.times),
            ("at", &stated.at),
        ];
        for (key, column) in columns {
            if let Some(column) = column {
                checks.column(&["columns", sequence, "decay", key], column);
            }
        }
    }
}

/// Returns the pooling of a sequence, and checks that no key of another pooling is stated.
fn pooling(sequence: &str, config: &Column, checks: &mut Checks<'_>) -> SequencePooling {
    let Column::With(ColumnSettings::Sequence {
        pooling,
        max_length,
        hidden,
        softmax,
        heads,
        ..
    }) = config
    else {
        return SequencePooling::Mean;
    };
    let (name, found) = match pooling {
        toml_types::SequencePooling::Din => {
            let attention = Attention {
                hidden: hidden.unwrap_or(HIDDEN),
                softmax: softmax.unwrap_or(false),
            };
            ("din", SequencePooling::Din(attention))
        }
        toml_types::SequencePooling::Mha => {
            let heads = MultiHead {
                heads: heads.unwrap_or(HEADS),
                positions: u32::try_from(*max_length).unwrap_or(u32::MAX),
            };
            ("mha", SequencePooling::Mha(heads))
        }
        toml_types::SequencePooling::Mean => ("mean", SequencePooling::Mean),
        toml_types::SequencePooling::Last => ("last", SequencePooling::Last),
    };
    let stated = [
        ("hidden", "din", hidden.is_some()),
        ("softmax", "din", softmax.is_some()),
        ("heads", "mha", heads.is_some()),
    ];
    for (key, wanted, is_stated) in stated {
        if is_stated && wanted != name {
            let text = format!("columns.{sequence}.{key} goes with pooling = {wanted:?}");
            checks.say(&["columns", sequence, key], text);
        }
    }
    found
}

fn ids_of(about: &Attribute<'_>, checks: &mut Checks<'_>) -> Ids {
    let settings = about.settings;
    let Some(buckets) = settings.quantiles else {
        let (table, hash) = (&settings.table, settings.hash);
        let vocabulary = settings.vocabulary.as_ref();
        return ids(
            &about.full_name,
            table,
            settings.buckets,
            hash,
            vocabulary,
            checks,
        );
    };
    let stated = [
        ("table", settings.table.is_some()),
        ("target", settings.target.is_some()),
        ("buckets", settings.buckets.is_some()),
        ("hash", settings.hash.is_some()),
        ("vocabulary", settings.vocabulary.is_some()),
    ];
    for (key, _) in stated.into_iter().filter(|(_, is_stated)| *is_stated) {
        about.say(
            key,
            "is for ids, and quantiles for numbers; keep one",
            checks,
        );
    }
    Ids::Number(NumericPlan::Quantiles { buckets })
}

/// Sets the target of each attribute, and checks that every attention has one.
pub(crate) fn link(
    config: &RunFile,
    attributes: &[Attribute<'_>],
    tables: &[TablePlan],
    fields: &mut [Field],
    checks: &mut Checks<'_>,
) {
    let mut without: Vec<&str> = Vec::new();
    for about in attributes {
        let Some(f) = fields
            .iter()
            .position(|field| field.name == about.full_name)
        else {
            continue;
        };
        let Some(Pooling::Events(attribute)) = fields[f].pooling else {
            continue;
        };
        if !attribute.pooling.is_attention() {
            if about.settings.target.is_some() {
                about.say("target", "goes with pooling = \"din\" or \"mha\"", checks);
            }
            continue;
        }
        let target = target(about, tables, fields, checks);
        fields[f].pooling = Some(Pooling::Events(EventAttribute {
            target,
            ..attribute
        }));
        if !without.contains(&about.sequence) {
            without.push(about.sequence);
        }
    }
    let has_target = |sequence: &str| {
        attributes.iter().any(|about| {
            let field = fields.iter().find(|field| field.name == about.full_name);
            let attribute = field.and_then(|field| field.pooling?.attribute());
            about.sequence == sequence
                && (about.settings.target.is_some()
                    || attribute.is_some_and(|attribute| attribute.target.is_some()))
        })
    };
    for sequence in without.into_iter().filter(|sequence| !has_target(sequence)) {
        let features = config.columns.keys().filter(|name| *name != sequence);
        let known: Vec<&str> = features.map(String::as_str).collect();
        let text = format!(
            "columns.{sequence} compares its events with the candidate, and no attribute says with what; set table (or target) \
             of an attribute to a feature of the candidate{}, or pooling = \"mean\"",
            match known.first() {
                Some(first) => format!(", such as {first:?}"),
                None => String::new(),
            }
        );
        checks.say(&["columns", sequence], text);
    }
}

/// Returns the field that an attribute is compared with: the stated one, or that of its table.
fn target(
    about: &Attribute<'_>,
    tables: &[TablePlan],
    fields: &[Field],
    checks: &mut Checks<'_>,
) -> Option<u32> {
    let (stated, table) = (&about.settings.target, &about.settings.table);
    let name = stated.as_ref().or(table.as_ref())?;
    let key = if stated.is_some() { "target" } else { "table" };
    let Some(f) = fields.iter().position(|field| field.name == *name) else {
        if stated.is_some() {
            let names = fields.iter().map(|field| field.name.as_str());
            let text = format!("is {name:?}, which is not a feature{}", hint(name, names));
            about.say(key, &text, checks);
        }
        return None;
    };
    let is_attribute = fields[f]
        .pooling
        .is_some_and(|pooling| pooling.attribute().is_some());
    let is_direct = match &tables[fields[f].table].ids {
        IdSpacePlan::Numeric(NumericPlan::Piecewise { .. }) => true,
        IdSpacePlan::Numeric(NumericPlan::Vector(vector)) => !vector.projected,
        _ => false,
    };
    let wrong = match (is_attribute, is_direct) {
        (true, _) => "an attribute of events",
        (_, true) => "numbers without a vector",
        _ => return Some(f as u32),
    };
    if stated.is_some() {
        let text = format!(
            "is {name:?}, {wrong}; events are compared with a categorical feature or a list of the candidate"
        );
        about.say(key, &text, checks);
    }
    None
}

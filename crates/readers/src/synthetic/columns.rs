//! Columns of the rows of a synthetic log.

use super::calibration::Probabilities;
use super::fields::{FIELDS, Row};
use super::further::{FurtherLabel, FurtherLabels};
use super::{CONVERSION_TIME, GROUP, LABELS, TIME, TRUTHS};
use ncs_features::time::Timestamp;
use ncs_features::{Block, Column, Texts, Values};

/// Index of the first of the seven contexts in [`FIELDS`].
const FIRST_CONTEXT: usize = 8;

/// The columns of a block that is being made.
#[derive(Default)]
pub(super) struct Columns {
    users: Vec<i64>,
    items: Vec<i64>,
    categories: Texts,
    tags: Texts,
    tag_offsets: Vec<u32>,
    prices: Vec<f64>,
    hours: Vec<i64>,
    devices: Texts,
    cities: Texts,
    unknown_cities: Vec<bool>,
    contexts: [Texts; 7],
    sessions: Vec<i64>,
    labels: [Vec<i64>; 2],
    not_clicked: Vec<bool>,
    truths: [Vec<f64>; 2],
    /// Empty where the log has no days.
    times: Vec<Timestamp>,
    /// Empty where conversions have no times; of rows without a conversion any.
    conversion_times: Vec<Timestamp>,
    not_converted: Vec<bool>,
    further: &'static [FurtherLabel],
    further_labels: [Vec<i64>; 2],
    /// Rows for which a further label is not known.
    not_reached: [Vec<bool>; 2],
    further_truths: [Vec<f64>; 2],
}

impl Columns {
    pub(super) fn new(further: FurtherLabels) -> Columns {
        Columns {
            further: further.labels(),
            ..Columns::default()
        }
    }

    pub(super) fn push(&mut self, row: &Row, truth: Probabilities) {
        self.push_features(row);
        let clicked = row.luck[0] < truth.click;
        let converted = clicked && row.luck[1] < truth.conversion;
        self.sessions.push(row.session as i64);
        self.labels[0].push(clicked.into());
        self.labels[1].push(converted.into());
        self.not_clicked.push(!clicked);
        self.truths[0].push(truth.click);
        self.truths[1].push(truth.conversion);
        self.times.extend(row.time);
        self.conversion_times.extend(row.conversion_time);
        self.not_converted.push(!converted);
        self.push_further(row, truth, clicked);
    }

    fn push_further(&mut self, row: &Row, truth: Probabilities, clicked: bool) {
        let mut before = false;
        for (number, further) in self.further.iter().enumerate() {
            let is_reached = clicked && (before || !further.follows);
            before = is_reached && row.further_luck[number] < truth.further[number];
            self.further_labels[number].push(before.into());
            self.not_reached[number].push(!is_reached);
            self.further_truths[number].push(truth.further[number]);
        }
    }

    fn push_features(&mut self, row: &Row) {
        self.users.push(row.user.into());
        self.items.push(row.item.into());
        push_named(&mut self.categories, "category", row.category);
        self.tag_offsets.push(self.tags.len() as u32);
        for &tag in &row.tags {
            push_named(&mut self.tags, "tag", tag);
        }
        self.prices.push(row.price);
        self.hours.push(row.hour.into());
        push_named(&mut self.devices, "device", row.device);
        match row.city {
            Some(city) => push_named(&mut self.cities, "city", city),
            None => self.cities.push(b""),
        }
        self.unknown_cities.push(row.city.is_none());
        let names = FIELDS[FIRST_CONTEXT..].iter().map(|field| field.0);
        for ((texts, &id), name) in self.contexts.iter_mut().zip(&row.contexts).zip(names) {
            push_named(texts, name, id);
        }
    }

    pub(super) fn into_block(mut self) -> Block {
        let n_rows = self.users.len();
        self.tag_offsets.push(self.tags.len() as u32);
        let mut values = vec![
            Values::Int(self.users),
            Values::Int(self.items),
            Values::Text(self.categories),
            Values::Text(self.tags),
            Values::Float(self.prices),
            Values::Int(self.hours),
            Values::Text(self.devices),
            Values::Text(self.cities),
        ];
        values.extend(self.contexts.map(Values::Text));
        values.push(Values::Int(self.sessions));
        values.extend(self.labels.map(Values::Int));
        values.extend(self.truths.map(Values::Float));
        if !self.times.is_empty() {
            values.push(Values::Time(self.times));
        }
        if !self.conversion_times.is_empty() {
            values.push(Values::Time(self.conversion_times));
        }
        let columns = names().zip(values).map(|(name, values)| Column {
            name: name.to_owned(),
            values,
            ..Column::default()
        });
        let mut columns: Vec<Column> = columns.collect();
        let labels = self.further_labels.into_iter().zip(self.not_reached);
        for (further, (labels, nulls)) in self.further.iter().zip(labels) {
            columns.push(Column {
                name: further.label.to_owned(),
                values: Values::Int(labels),
                nulls,
                ..Column::default()
            });
        }
        for (further, truths) in self.further.iter().zip(self.further_truths) {
            columns.push(Column {
                name: further.truth.to_owned(),
                values: Values::Float(truths),
                ..Column::default()
            });
        }
        for column in &mut columns {
            match column.name.as_str() {
                "tags" => column.offsets = Some(std::mem::take(&mut self.tag_offsets)),
                "city" => column.nulls = std::mem::take(&mut self.unknown_cities),
                "conversion" => column.nulls = std::mem::take(&mut self.not_clicked),
                CONVERSION_TIME => column.nulls = std::mem::take(&mut self.not_converted),
                _ => {}
            }
        }
        Block { n_rows, columns }
    }
}

/// Returns the names of all columns, in order; a log without days lacks the last two, one without delays the last.
fn names() -> impl Iterator<Item = &'static str> {
    let features = FIELDS.iter().map(|field| field.0);
    features
        .chain([GROUP])
        .chain(LABELS)
        .chain(TRUTHS)
        .chain([TIME, CONVERSION_TIME])
}

/// Appends `name_id`.
fn push_named(texts: &mut Texts, name: &str, id: u32) {
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    std::io::Write::write_fmt(&mut rest, format_args!("{name}_{id}")).expect("32 bytes hold it");
    let room = rest.len();
    texts.push(&text[..32 - room]);
}

//! Weights of events that decay with their age: at the age of one half-life an event counts half, at two a quarter.
//!
//! The encoder computes `x = -ln 2 age / half-life` for each event, and the network weighs the event by `e^(r x)`, with a
//! rate `r` of 1, or one that is learned ([`EventDecay`](crate::EventDecay)). A mean over events becomes a weighted mean; attention adds `r x`
//! to the logarithm of an event's weight. An event from the future counts like one of now, and one of unknown age like the
//! oldest of its row.

use crate::batch::FieldIds;
use crate::beside::{Beside, EventAges};
use crate::block::{Block, Column, Values};
use crate::canonical::ValueRule;
use crate::error::EncodeError;
use crate::schema::Field;
use crate::time::{TimeUnit, Timestamp};
use crate::time_reader::{HOUR, TimeReader};
use crate::value::FieldReader;
use std::f64::consts::LN_2;

/// Appends how far the weights of the events of each row have decayed, if the field has ages.
///
/// # Errors
/// A column is absent, an age is no number or moment, or a row has another number of ages than of events.
pub(crate) fn encode(
    field: &Field,
    block: &Block,
    rule: ValueRule,
    out: &mut FieldIds,
) -> Result<(), EncodeError> {
    let Beside::Ages(ages) = &field.beside else {
        return Ok(());
    };
    let of_ages = Field {
        name: field.name.clone(),
        column: ages.column.clone(),
        beside: Beside::None,
        ..field.clone()
    };
    let own = FieldReader::new(field, block, rule)?;
    let mut reader = AgesReader::new(ages, &of_ages, block, rule)?;
    out.weights.reserve(out.ids.len());
    for row in 0..block.n_rows {
        let (n, n_ages) = (own.n_events(row), reader.ages.n_events(row));
        if n != n_ages {
            return Err(EncodeError::EventCounts {
                column: own.column_name().to_owned(),
                row: row as u64 + 1,
                n,
                other: ages.column.clone(),
                n_other: n_ages,
            });
        }
        let found = reader.row(row)?;
        let oldest = found.iter().flatten().copied().fold(0.0, f64::max);
        let decayed = |age: &Option<f64>| -LN_2 * age.unwrap_or(oldest) / ages.half_life;
        out.weights
            .extend(found.iter().map(|age| decayed(age).max(-1e30) as f32));
    }
    Ok(())
}

/// Reads the ages of the events of a row.
struct AgesReader<'a> {
    ages: FieldReader<'a>,
    /// The column of the ages or moments.
    column: &'a Column,
    at: Option<TimeReader<'a>>,
    unit: Option<TimeUnit>,
}

impl<'a> AgesReader<'a> {
    fn new(
        ages: &'a EventAges,
        field: &'a Field,
        block: &'a Block,
        rule: ValueRule,
    ) -> Result<AgesReader<'a>, EncodeError> {
        let wanted_by = format!("feature \"{}\"", field.name);
        let at = |name: &String| -> Result<_, EncodeError> {
            let column = block.require(name, &wanted_by)?;
            Ok(TimeReader::new(field, column, ages.unit))
        };
        Ok(AgesReader {
            ages: FieldReader::new(field, block, rule)?,
            column: block.require(&ages.column, &wanted_by)?,
            at: ages.at.as_ref().map(at).transpose()?,
            unit: ages.unit,
        })
    }

    /// Returns the ages of the events that are kept, at least 0; `None` where one is unknown.
    fn row(&mut self, row: usize) -> Result<Vec<Option<f64>>, EncodeError> {
        let mut found = Vec::new();
        self.ages.numbers(row, |x| found.push(x))?;
        if let Some(at) = &self.at {
            let now = at.row(row)?.map(Timestamp::seconds_f64);
            let are_times = matches!(self.column.values, Values::Time(_));
            let seconds = |x: f64| match are_times {
                true => x,
                false => {
                    let unit = self.unit.unwrap_or_else(|| TimeUnit::of_size(x));
                    Timestamp::of_f64(x, unit).seconds_f64()
                }
            };
            for age in &mut found {
                *age = now.zip(*age).map(|(now, x)| (now - seconds(x)) / HOUR);
            }
        }
        found
            .iter_mut()
            .flatten()
            .for_each(|age| *age = age.max(0.0));
        Ok(found)
    }
}

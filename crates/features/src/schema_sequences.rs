//! The behaviour sequences of a schema: which fields are attributes of the same events.

use crate::beside::Beside;
use crate::schema::{Field, Pooling, Schema};
use crate::sequence::{EventAttribute, Sequence, SequencePooling};

impl Pooling {
    /// Returns the attribute, if the field is one of a sequence.
    pub fn attribute(self) -> Option<EventAttribute> {
        match self {
            Pooling::Events(attribute) => Some(attribute),
            _ => None,
        }
    }

    /// Returns true if the network weighs the values: by attention, or by their age.
    pub fn is_attention(self) -> bool {
        let attribute = self.attribute();
        attribute.is_some_and(|attribute| attribute.is_attention())
    }
}

/// Returns the sequences among fields of these poolings, in the order of their first attributes.
pub fn sequences(poolings: impl Iterator<Item = Option<Pooling>>) -> Vec<Sequence> {
    let mut found: Vec<(u32, Sequence)> = Vec::new();
    for (f, pooling) in poolings.enumerate() {
        let Some(attribute) = pooling.and_then(Pooling::attribute) else {
            continue;
        };
        let at = found.iter().position(|(n, _)| *n == attribute.sequence);
        let at = at.unwrap_or_else(|| {
            let sequence = Sequence {
                pooling: attribute.pooling,
                newest: attribute.newest,
                fields: Vec::new(),
                targets: Vec::new(),
                decay: attribute.decay,
            };
            found.push((attribute.sequence, sequence));
            found.len() - 1
        });
        let (_, sequence) = &mut found[at];
        sequence.fields.push(f);
        sequence
            .targets
            .push(attribute.target.map(|target| target as usize));
    }
    found.into_iter().map(|(_, sequence)| sequence).collect()
}

impl Schema {
    /// Returns the behaviour sequences, in the order of their first attributes.
    pub fn sequences(&self) -> Vec<Sequence> {
        sequences(self.fields.iter().map(|field| field.pooling))
    }

    /// Checks the sequences of a model from a file.
    ///
    /// # Errors
    /// The text describes the error.
    pub fn check_sequences(&self) -> Result<(), String> {
        for sequence in self.sequences() {
            let first = &self.fields[sequence.fields[0]];
            for (&f, &target) in sequence.fields.iter().zip(&sequence.targets) {
                let field = &self.fields[f];
                let wrong = |what: &str| Err(format!("feature \"{}\" {what}", field.name));
                if !is_same(first, field) {
                    return wrong("is read in another way than the other attributes of its events");
                }
                if !self.has_rows(f) {
                    return wrong("has no ids, as attributes of events do");
                }
                if target.is_some_and(|target| !self.is_target(target)) {
                    return wrong("is compared with a feature that has no vector");
                }
            }
            let has_ages = match &first.beside {
                Beside::None => sequence.decay.is_none(),
                Beside::Ages(ages) => sequence.decay.is_some() && ages.half_life > 0.0,
                _ => false,
            };
            if !has_ages || sequence.decay.is_some() && sequence.pooling == SequencePooling::Last {
                return Err(format!(
                    "the events of feature \"{}\" decay by ages that they do not have",
                    first.name
                ));
            }
            let has_target = !sequence.pooling.is_attention() || sequence.n_targets() > 0;
            if !has_target || !sequence.pooling.fits(first.max_values) {
                return Err(format!(
                    "the attention of feature \"{}\" has no target, or sizes that do not fit it",
                    first.name
                ));
            }
        }
        Ok(())
    }

    /// Returns true if every value of the field is a row of its table, with weight 1.
    fn has_rows(&self, f: usize) -> bool {
        let ids = self
            .tables
            .get(self.fields[f].table)
            .map(|table| &table.ids);
        ids.is_some_and(|ids| ids.n_rows() > 0 && ids.width() == 0 && !ids.weighs_rows())
    }

    /// Returns true if attributes can be compared with this field: it has a vector, and is not an attribute.
    fn is_target(&self, f: usize) -> bool {
        let is_attribute = |field: &Field| field.pooling.and_then(Pooling::attribute).is_some();
        let field = self.fields.get(f).filter(|field| !is_attribute(field));
        let table = field.and_then(|field| self.tables.get(field.table));
        table.is_some_and(|table| table.ids.width() == 0)
    }
}

/// Returns true if two attributes are cut and pooled in the same way.
fn is_same(one: &Field, other: &Field) -> bool {
    let about = |field: &Field| {
        let attribute = field.pooling.and_then(Pooling::attribute)?;
        let (pooling, newest, decay) = (attribute.pooling, attribute.newest, attribute.decay);
        Some((pooling, newest, decay, field.max_values))
    };
    about(one) == about(other) && one.beside == other.beside
}

//! Which fields vary between training rows.

use ncs_features::Batch;

/// Fields that are not constant on the training rows so far.
pub(super) struct Variation {
    fields: Vec<Option<Field>>,
}

/// The first training row of a field, and whether another differed from it.
struct Field {
    ids: Vec<u32>,
    weights: Vec<f32>,
    numbers: Vec<f32>,
    varies: bool,
}

impl Variation {
    pub(super) fn new(n_fields: usize) -> Variation {
        let fields = std::iter::repeat_with(|| None);
        Variation {
            fields: fields.take(n_fields).collect(),
        }
    }

    pub(super) fn observe(&mut self, batch: &Batch, rows: &[usize]) {
        let Some(&first) = rows.first() else { return };
        for (seen, field) in self.fields.iter_mut().zip(&batch.fields) {
            let ids = |row| &field.ids[field.range(row)];
            let weights = |row| field.weights.get(field.range(row)).unwrap_or_default();
            let seen = seen.get_or_insert_with(|| Field {
                ids: ids(first).to_vec(),
                weights: weights(first).to_vec(),
                numbers: field.numbers_of(first).to_vec(),
                varies: false,
            });
            let differs = |&row: &usize| {
                ids(row) != seen.ids
                    || weights(row) != seen.weights
                    || field.numbers_of(row) != seen.numbers
            };
            seen.varies = seen.varies || rows.iter().any(differs);
        }
    }

    pub(super) fn finish(self) -> Vec<bool> {
        let varies = |seen: Option<Field>| seen.is_some_and(|seen| seen.varies);
        self.fields.into_iter().map(varies).collect()
    }
}

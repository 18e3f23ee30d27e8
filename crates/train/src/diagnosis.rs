//! Where a number that is none came from: a field's vectors, or a layer's weights.

use ncs_features::{Batch, Field, IdSpace, Schema};
use ncs_model::Tower;

/// Standard deviations from the mean that hardly any number is from that of its column.
const OUTLIER: f32 = 100.0;

/// The first culprit, in words, and what to do.
pub(crate) fn culprit(tower: &Tower, schema: &Schema, batch: &Batch) -> String {
    if let Some(found) = outlier(schema, batch) {
        return found;
    }
    if let Some(found) = field(tower, schema, batch) {
        return format!("{found}; a smaller table_learning_rate or training.clip_norm helps");
    }
    if let Some(found) = layer(tower) {
        return format!("{found}; a smaller learning_rate or training.clip_norm helps");
    }
    "all weights are finite, but their products are too large for single precision; a smaller \
     learning_rate or training.clip_norm helps"
        .to_owned()
}

/// A number so far from its mean that whatever it is multiplied by grows without end: no learning rate is too
/// large for it, but the number for the rest of its column.
fn outlier(schema: &Schema, batch: &Batch) -> Option<String> {
    let of_field = |ids: &ncs_features::FieldIds| {
        let rows = (0..batch.n_rows).map(|row| {
            let weights = ids.weights.get(ids.range(row)).unwrap_or_default();
            let largest = weights
                .iter()
                .fold(0.0_f32, |most, weight| most.max(weight.abs()));
            (row, largest)
        });
        rows.max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let fields = schema.fields.iter().zip(&batch.fields);
    let is_scaled =
        |field: &Field| matches!(schema.tables[field.table].ids, IdSpace::Scaled { .. });
    let scaled = fields.filter(|(field, _)| is_scaled(field));
    let furthest = scaled.filter_map(|(field, ids)| Some((field, of_field(ids)?)));
    let (field, (row, deviations)) = furthest.max_by(|(_, a), (_, b)| a.1.total_cmp(&b.1))?;
    (deviations > OUTLIER).then(|| {
        format!(
            "field \"{}\" is {deviations:.0} standard deviations from its mean in row {row} of the batch: look \
             for a mark of unknown values in column \"{}\" and name it in the field's `missing`, or state \
             transform = \"log\" or \"quantiles\"; if the number is right, a smaller learning_rate or \
             training.clip_norm helps",
            field.name, field.column
        )
    })
}

fn field(tower: &Tower, schema: &Schema, batch: &Batch) -> Option<String> {
    for (field, ids) in schema.fields.iter().zip(&batch.fields) {
        let table = &tower.tables[field.table];
        for row in 0..batch.n_rows {
            let range = ids.range(row);
            let weights = ids.weights.get(range.clone()).unwrap_or_default();
            if weights.iter().any(|weight| !weight.is_finite()) {
                return Some(format!(
                    "field \"{}\" is no number in row {row} of the batch",
                    field.name
                ));
            }
            let lost = |&&id: &&u32| table.row(id).iter().any(|x| !x.is_finite());
            if let Some(id) = ids.ids[range].iter().find(lost) {
                let (name, table) = (&field.name, &schema.tables[field.table].name);
                return Some(format!(
                    "field \"{name}\", row {row} of the batch: row {id} of table \"{table}\" is not finite"
                ));
            }
        }
    }
    None
}

fn layer(tower: &Tower) -> Option<String> {
    let layers = tower
        .layout
        .layers
        .iter()
        .enumerate()
        .map(|(l, layer)| (format!("layer fc_{l}"), layer));
    let heads = tower
        .layout
        .heads
        .iter()
        .map(|head| ("a head".to_owned(), head));
    let mut all = layers.chain(heads);
    all.find_map(|(name, layer)| {
        let weights = &tower.dense[layer.weights.start..layer.bias.end];
        let lost = weights.iter().any(|weight| !weight.is_finite());
        lost.then(|| format!("weights of {name} are not finite"))
    })
}

//! Source of a NaN or infinity: a number in the rows, a field's vectors, or a layer's weights.

use crate::error::TrainError;
use crate::ranks::Ranks;
use ncs_features::coverage::farthest;
use ncs_features::{Batch, IdSpace, Schema};
use ncs_model::Network;

/// Returns the first source found, as text, and a remedy. The rows are checked before the weights: a number far from
/// all others corrupts the weights that it is multiplied with. All ranks look at once, each in the table rows that it
/// holds.
pub(crate) fn nan_source(
    network: &Network,
    schema: &Schema,
    batch: &Batch,
    ranks: Ranks<'_>,
) -> Result<String, TrainError> {
    if let Some(found) = number(schema, batch) {
        return Ok(format!(
            "{found}; list such values in `missing`, or set transform = \"log\" or \"quantiles\""
        ));
    }
    if let Some((_, found)) = ranks.first_found(field(network, schema, batch))? {
        return Ok(format!(
            "{found}; a smaller table_learning_rate or training.clip_norm helps"
        ));
    }
    Ok(of_layers(network))
}

fn of_layers(network: &Network) -> String {
    if let Some(found) = layer(network) {
        return format!("{found}; a smaller learning_rate or training.clip_norm helps");
    }
    "all weights are finite, but their products are too large for single precision; a smaller \
     learning_rate or training.clip_norm helps"
        .to_owned()
}

/// Returns the number that is farthest from the mean of its column, if it is too far.
fn number(schema: &Schema, batch: &Batch) -> Option<String> {
    let far = (0..batch.n_rows).filter_map(|row| Some((farthest(batch, row)?, row)));
    let ((distance, f), row) = far.max_by(|((a, _), _), ((b, _), _)| a.total_cmp(b))?;
    let (field, ids) = (&schema.fields[f], &batch.fields[f]);
    let factors = &ids.weights[ids.range(row)];
    let z = factors
        .iter()
        .find(|z| z.abs().total_cmp(&distance).is_eq());
    let value = z.and_then(|&z| value(&schema.tables[field.table].ids, f64::from(z)));
    let value = value.map_or(String::new(), |value| format!(" about {value:.3e},"));
    Some(format!(
        "column \"{}\" holds{value} a value {distance:e} standard deviations from the mean of the training rows",
        field.column
    ))
}

/// The number that was scaled to `z`.
fn value(ids: &IdSpace, z: f64) -> Option<f64> {
    match *ids {
        IdSpace::Scaled {
            log,
            mean,
            deviation,
        } => {
            let x = z * deviation + mean;
            Some(if log { x.abs().exp_m1().copysign(x) } else { x })
        }
        _ => None,
    }
}

fn field(network: &Network, schema: &Schema, batch: &Batch) -> Option<String> {
    for (field, ids) in schema.fields.iter().zip(&batch.fields) {
        let table = &network.tables[field.table];
        let lost = |id: &&u32| table.row(**id).iter().any(|x| !x.is_finite());
        if let Some(id) = ids.ids.iter().find(lost) {
            let (name, table) = (&field.name, &schema.tables[field.table].name);
            return Some(format!(
                "field \"{name}\": row {id} of table \"{table}\" is not finite"
            ));
        }
    }
    None
}

fn layer(network: &Network) -> Option<String> {
    let layers = network
        .layout
        .layers
        .iter()
        .enumerate()
        .map(|(l, layer)| (format!("layer fc_{l}"), layer));
    let heads = network
        .layout
        .heads
        .iter()
        .map(|head| ("a head".to_owned(), head));
    let mut all = layers.chain(heads);
    all.find_map(|(name, layer)| {
        let weights = &network.dense[layer.weights.start..layer.bias.end];
        let lost = weights.iter().any(|weight| !weight.is_finite());
        lost.then(|| format!("weights of {name} are not finite"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank_tables::RankTables;
    use ncs_collective::Solo;
    use ncs_features::{Field, FieldIds, Table};
    use ncs_model::{CounterRng, Model, NetworkKind, Spec};

    fn schema() -> Schema {
        Schema {
            value_rule: ncs_features::ValueRule::CURRENT,
            fields: vec![Field {
                name: "price".into(),
                column: "item_price".into(),
                table: 0,
                pooling: None,
                separator: None,
                max_values: None,
                beside: Default::default(),
                missing: vec![],
            }],
            tables: vec![Table {
                name: "price".into(),
                ids: IdSpace::Scaled {
                    log: false,
                    mean: 1.0,
                    deviation: 2.0,
                },
                range: None,
            }],
            tasks: vec![],
            group: None,
        }
    }

    fn diagnosed(z: f32, weight: f32) -> String {
        let alone = Ranks::new(&Solo, RankTables::Replicated);
        let schema = schema();
        let plan = ncs_testkit::network(NetworkKind::SharedBottom, 2, &[3]);
        let mut model: Model = Model::new(Spec::of(&schema, &plan), CounterRng::new(1, "weights"));
        model.network_mut(0).init_all_rows();
        model.network_mut(0).dense[0] = weight;
        let batch = Batch {
            n_rows: 2,
            fields: vec![FieldIds {
                ids: vec![1, 2, 1, 2],
                offsets: vec![0, 2, 4],
                weights: vec![0.5, 1.0, z, 1.0],
                ..FieldIds::default()
            }],
            ..Batch::default()
        };
        nan_source(model.network(0), &schema, &batch, alone).unwrap()
    }

    #[test]
    fn a_number_in_the_rows_is_blamed_before_the_weights_that_it_spoiled() {
        let found = diagnosed(1e19, f32::NAN);
        let expected =
            "column \"item_price\" holds about 2.000e19, a value 1e19 standard deviations";
        assert!(found.starts_with(expected), "{found}");
        assert!(found.contains("`missing`"), "{found}");
        assert!(!found.contains("learning_rate"), "{found}");
        let found = diagnosed(f32::INFINITY, 0.5);
        assert!(
            found.starts_with("column \"item_price\" holds about inf"),
            "{found}"
        );
    }

    #[test]
    fn weights_are_blamed_where_the_rows_are_sound() {
        let found = diagnosed(3.0, f32::INFINITY);
        assert!(
            found.starts_with("weights of layer fc_0 are not finite"),
            "{found}"
        );
        assert!(diagnosed(3.0, 0.5).starts_with("all weights are finite"));
    }
}

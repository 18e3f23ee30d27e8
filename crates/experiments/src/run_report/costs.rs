//! Parameters of a model by table.

use ncs_eval::diagnoses::TableCost;
use ncs_model::Weights;
use ncs_model::artifact::Artifact;

/// Bytes of a parameter, and of the id of a row.
const NUMBER: u64 = 4;

/// Returns the cost of each table over all weight sets, most bytes first, and that of layers and heads.
pub(super) fn of(artifact: &Artifact) -> Vec<TableCost> {
    let weights: Vec<&Weights> = artifact
        .weight_sets
        .iter()
        .map(|set| &*set.weights)
        .collect();
    let table = |(number, table): (usize, &ncs_features::Table)| {
        let features = artifact.schema.fields.iter();
        let features = features.filter(|field| field.table == number);
        let of_sets = weights
            .iter()
            .filter_map(|weights| weights.tables.get(number));
        let (rows, parameters) = of_sets.fold((0, 0), |(rows, parameters), found| {
            let (ids, values) = (found.ids.len() as u64, found.values.len() as u64);
            (rows + ids, parameters + values)
        });
        TableCost {
            name: table.name.clone(),
            features: features.map(|field| field.name.clone()).collect(),
            rows: Some(rows),
            parameters,
            bytes: NUMBER * (parameters + rows),
        }
    };
    let tables = artifact.schema.tables.iter().enumerate();
    let mut costs: Vec<TableCost> = tables
        .map(table)
        .filter(|cost| cost.parameters > 0)
        .collect();
    let dense: usize = weights.iter().map(|weights| weights.dense.len()).sum();
    costs.push(TableCost {
        name: "layers and heads".to_owned(),
        features: Vec::new(),
        rows: None,
        parameters: dense as u64,
        bytes: NUMBER * dense as u64,
    });
    costs.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    costs
}

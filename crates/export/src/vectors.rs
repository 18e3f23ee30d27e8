//! Test vectors: inputs of an exported model with the probabilities that it must give.

use crate::signature::{InputTensor, Signature, TensorValues};
use ncs_features::{Block, Column, EncodeError, Encoder, Field, Schema, Texts, Values};
use ncs_model::{Scorer, SelfTest, Workspace};
use serde::Serialize;
use std::collections::BTreeMap;

/// Largest difference of a probability in another runtime.
const TOLERANCE: f32 = 1e-5;

/// The contents of the file.
#[derive(Serialize)]
struct File<'a> {
    /// BLAKE3 of the model's manifest.
    model: &'a str,
    /// Largest difference from an expected value.
    tolerance: f32,
    inputs: BTreeMap<String, Tensor>,
    /// Expected outputs.
    outputs: BTreeMap<&'a str, Vec<f32>>,
}

#[derive(Serialize)]
struct Tensor {
    shape: Vec<usize>,
    #[serde(flatten)]
    values: TensorValues,
}

/// Returns the test vectors as JSON: the rows of the self-test, or, without one, a row of missing values.
///
/// # Errors
/// The rows of the self-test cannot be encoded.
pub(crate) fn json(
    scorer: &Scorer,
    signature: &Signature,
    test: Option<&SelfTest>,
    model: &str,
) -> Result<Vec<u8>, EncodeError> {
    let missing = missing_row(scorer.schema());
    let rows = test.map_or(&missing, |test| &test.rows);
    let encoder = Encoder::new(scorer.schema().clone());
    let batch = encoder.encode_features(rows)?;
    let tensors = signature.tensors(&encoder.inputs(rows, &batch)?);
    let mut scores = scorer.score(&batch, &mut Workspace::new(1));
    let products = scorer.schema().products().into_iter();
    let products: Vec<Vec<f32>> = products.map(|product| product.of(&scores)).collect();
    scores.extend(products);
    let tensor = |InputTensor {
                      name,
                      shape,
                      values,
                  }| (name, Tensor { shape, values });
    let file = File {
        model,
        tolerance: TOLERANCE,
        inputs: tensors.into_iter().map(tensor).collect(),
        outputs: signature
            .outputs
            .iter()
            .map(String::as_str)
            .zip(scores)
            .collect(),
    };
    Ok(serde_json::to_vec(&file).expect("test vectors are plain data"))
}

/// A row without any value, in every column that a field reads.
fn missing_row(schema: &Schema) -> Block {
    let mut block = Block {
        n_rows: 1,
        columns: Vec::new(),
    };
    for name in schema.fields.iter().flat_map(Field::columns) {
        if block.column(name).is_none() {
            let mut texts = Texts::default();
            texts.push(b"");
            block.columns.push(Column {
                name: name.clone(),
                values: Values::Text(texts),
                ..Column::default()
            });
        }
    }
    block
}

//! Inputs and outputs of an exported model, and the values of rows for them.

use crate::ExportError;
use ncs_features::{Field, FieldInput, IdSpace, InputValues, Pooling, Schema};
use serde::Serialize;

/// The inputs and outputs of an exported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// The inputs, in the order of the fields of the schema.
    pub inputs: Vec<Input>,
    /// The outputs: `p_TASK` for each task, then the products of chains of tasks, as `ncs score` names them. Each is
    /// `float32 [batch]`.
    pub outputs: Vec<String>,
}

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name: that of the field, and for lengths `FIELD.lengths`.
    pub name: String,
    /// The field, by its place in the schema.
    pub field: usize,
    /// Meaning and shape.
    pub role: Role,
}

/// The meaning of an input, with its type and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An id of each row, `int64 [batch]`.
    Id,
    /// A number of each row, `float64 [batch]`; NaN: missing.
    Number,
    /// A text of each row, `string [batch]`; the empty text: missing. The graph hashes it.
    Text,
    /// Ids of each row, `int64 [batch, longest]`; those after a row's length are ignored.
    Ids,
    /// Numbers of each row, `float64 [batch, longest]`; those after a row's length are ignored.
    Numbers,
    /// Texts of each row, `string [batch, longest]`; those after a row's length are ignored.
    Texts,
    /// A vector of each row, `float64 [batch, length]`; a row of NaN: missing.
    Vector(u32),
    /// Lengths of each row's list, `int64 [batch]`.
    Lengths,
}

impl Role {
    /// Returns true if the input has a second dimension: the longest list.
    pub fn is_matrix(self) -> bool {
        matches!(self, Role::Ids | Role::Texts | Role::Numbers)
    }

    /// The role of a list of such values.
    fn of_lists(self) -> Role {
        match self {
            Role::Id => Role::Ids,
            Role::Text => Role::Texts,
            Role::Number => Role::Numbers,
            Role::Ids | Role::Texts | Role::Numbers | Role::Vector(_) | Role::Lengths => self,
        }
    }
}

/// The values of some rows for one input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputTensor {
    /// The name of the input.
    pub name: String,
    /// `[rows]` or `[rows, longest]`.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub values: TensorValues,
}

/// The values of an [`InputTensor`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", content = "values")]
pub enum TensorValues {
    /// Ids and lengths.
    #[serde(rename = "int64")]
    I64(Vec<i64>),
    /// Texts; empty: missing.
    #[serde(rename = "string")]
    Texts(Vec<String>),
    /// Numbers; NaN: missing. (JSON has no NaN: null.)
    #[serde(rename = "float64")]
    F64(Vec<f64>),
}

impl Signature {
    /// Returns the inputs and outputs of a model of these columns and tasks.
    ///
    /// # Errors
    /// It cannot be exported: see [`ExportError::Refused`].
    pub fn of(schema: &Schema) -> Result<Signature, ExportError> {
        let mut inputs = Vec::new();
        for (field, about) in schema.fields.iter().enumerate() {
            refuse_padding(about)?;
            refuse_weights(about)?;
            refuse_events(about)?;
            refuse_quantiles(&about.name, &schema.tables[about.table].ids)?;
            let role = match &schema.tables[about.table].ids {
                IdSpace::Rate(rate) if rate.of.len() == 1 => continue,
                ids if ids.is_hashed_in_graphs() => Role::Text,
                IdSpace::Hash { .. }
                | IdSpace::Vocabulary { .. }
                | IdSpace::Cross(_)
                | IdSpace::Time(_) => Role::Id,
                IdSpace::Vector(vector) => Role::Vector(vector.length),
                _ => Role::Number,
            };
            let input = |name: String, role| Input { name, field, role };
            if about.pooling.is_none() {
                inputs.push(input(about.name.clone(), role));
                continue;
            }
            inputs.push(input(about.name.clone(), role.of_lists()));
            inputs.push(input(format!("{}.lengths", about.name), Role::Lengths));
        }
        let products = schema.products().into_iter().map(|product| product.name);
        let tasks = schema.tasks.iter().map(|task| task.name.clone());
        let outputs = tasks.chain(products).map(|task| format!("p_{task}"));
        let signature = Signature {
            inputs,
            outputs: outputs.collect(),
        };
        signature.refuse_same_names()?;
        Ok(signature)
    }

    fn refuse_same_names(&self) -> Result<(), ExportError> {
        let names: Vec<&str> = self.names().collect();
        let again = |(n, name): &(usize, &&str)| names[..*n].contains(name);
        match names.iter().enumerate().find(again) {
            None => Ok(()),
            Some((_, name)) => Err(ExportError::Refused {
                what: format!("two of its inputs and outputs would be named \"{name}\""),
                remedy: "rename the feature (its key in [columns], with column = \"...\") and train again"
                    .to_owned(),
            }),
        }
    }

    /// Iterates over the names of all inputs, then of all outputs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let inputs = self.inputs.iter().map(|input| input.name.as_str());
        inputs.chain(self.outputs.iter().map(String::as_str))
    }

    /// Returns the name of the input of a field with this role.
    pub(crate) fn name(&self, field: usize, is_lengths: bool) -> Option<&String> {
        let mut inputs = self.inputs.iter();
        let found = inputs
            .find(|input| input.field == field && (input.role == Role::Lengths) == is_lengths)?;
        Some(&found.name)
    }

    /// Returns the values of rows for each input; `fields` are those of [`ncs_features::Encoder::inputs`]. Lists are
    /// filled up to the longest, which has at least one place, by 0, empty texts and NaN.
    pub fn tensors(&self, fields: &[FieldInput]) -> Vec<InputTensor> {
        let tensor = |input: &Input| {
            let (shape, values) = tensor(&fields[input.field], input.role);
            InputTensor {
                name: input.name.clone(),
                shape,
                values,
            }
        };
        self.inputs.iter().map(tensor).collect()
    }
}

/// A mean over the longest list of a batch depends on the other rows of the batch.
fn refuse_padding(field: &Field) -> Result<(), ExportError> {
    if field.pooling != Some(Pooling::PaddedMean) {
        return Ok(());
    }
    Err(ExportError::Refused {
        what: format!(
            "feature \"{}\" pools by \"padded_mean\", by which a row's score depends on the other rows of its batch",
            field.name
        ),
        remedy: "train with pooling = \"mean\" or \"sum\" for it".to_owned(),
    })
}

/// Lists come in as ids and lengths, without weights.
fn refuse_weights(field: &Field) -> Result<(), ExportError> {
    if !field.beside.weighs() {
        return Ok(());
    }
    Err(ExportError::Refused {
        what: format!("feature \"{}\" is a list with weights", field.name),
        remedy: "train with the list without its weights, or serve the model by ncs serve"
            .to_owned(),
    })
}

/// A graph has no attention, and no ages of events.
fn refuse_events(field: &Field) -> Result<(), ExportError> {
    match field.pooling {
        Some(Pooling::Events(attribute)) if attribute.is_attention() => {
            let what = match attribute.decay {
                Some(_) => "whose weights decay with age (decay)",
                None => "pooled by attention (pooling = \"din\" or \"mha\")",
            };
            Err(ExportError::Refused {
                what: format!(
                    "feature \"{}\" is of a behaviour sequence {what}, which exported models do not have",
                    field.name
                ),
                remedy: "serve the model by `ncs serve`, or train it with pooling = \"mean\" or \"last\" without decay"
                    .to_owned(),
            })
        }
        _ => Ok(()),
    }
}

/// In the graph a number is compared with every boundary, for want of a binary search.
fn refuse_quantiles(field: &str, ids: &IdSpace) -> Result<(), ExportError> {
    const MOST: usize = 4096;
    match ids {
        IdSpace::Quantiles { boundaries } if boundaries.len() > MOST => Err(ExportError::Refused {
            what: format!(
                "feature \"{field}\" has {} quantiles, more than {MOST}",
                boundaries.len()
            ),
            remedy: "train with fewer buckets for it".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn tensor(field: &FieldInput, role: Role) -> (Vec<usize>, TensorValues) {
    let offsets = field.offsets.as_slice();
    if role == Role::Lengths {
        let lengths = offsets.windows(2).map(|ends| i64::from(ends[1] - ends[0]));
        let lengths: Vec<i64> = lengths.collect();
        return (vec![lengths.len()], TensorValues::I64(lengths));
    }
    if let (Role::Vector(length), InputValues::Numbers(numbers)) = (role, &field.values) {
        let length = length as usize;
        let shape = vec![numbers.len() / length.max(1), length];
        return (shape, TensorValues::F64(numbers.clone()));
    }
    let offsets = role.is_matrix().then_some(offsets);
    match &field.values {
        InputValues::Ids(ids) => {
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            let (shape, ids) = shaped(&ids, offsets, 0);
            (shape, TensorValues::I64(ids))
        }
        InputValues::Texts(texts) => {
            let (shape, texts) = shaped(texts, offsets, String::new());
            (shape, TensorValues::Texts(texts))
        }
        InputValues::Numbers(numbers) => {
            let (shape, numbers) = shaped(numbers, offsets, f64::NAN);
            (shape, TensorValues::F64(numbers))
        }
    }
}

/// Returns the values with their shape: `[rows]`, or with offsets the lists `[rows, longest]`, filled up with `padding`.
fn shaped<T: Clone>(values: &[T], offsets: Option<&[u32]>, padding: T) -> (Vec<usize>, Vec<T>) {
    let Some(offsets) = offsets else {
        return (vec![values.len()], values.to_vec());
    };
    let lists = offsets.windows(2);
    let lists = lists.map(|ends| &values[ends[0] as usize..ends[1] as usize]);
    let longest = lists.clone().map(<[T]>::len).max().unwrap_or(0).max(1);
    let n_lists = lists.len();
    let mut matrix = Vec::with_capacity(n_lists * longest);
    for list in lists {
        matrix.extend_from_slice(list);
        matrix.extend(std::iter::repeat_n(padding.clone(), longest - list.len()));
    }
    (vec![n_lists, longest], matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_filled_up_to_the_longest() {
        let lists = FieldInput {
            values: InputValues::Ids(vec![5, 6, 7]),
            offsets: vec![0, 0, 2, 3],
        };
        let (shape, values) = tensor(&lists, Role::Ids);
        assert_eq!(
            (shape, values),
            (vec![3, 2], TensorValues::I64(vec![0, 0, 5, 6, 7, 0]))
        );
        let (shape, values) = tensor(&lists, Role::Lengths);
        assert_eq!((shape, values), (vec![3], TensorValues::I64(vec![0, 2, 1])));
        let empty = FieldInput {
            values: InputValues::Ids(vec![]),
            offsets: vec![0, 0],
        };
        assert_eq!(tensor(&empty, Role::Ids).0, [1, 1]);
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let words = FieldInput {
            values: InputValues::Texts(texts(&["a", "b", "c"])),
            offsets: vec![0, 1, 1, 3],
        };
        let expected = TensorValues::Texts(texts(&["a", "", "", "", "b", "c"]));
        assert_eq!(tensor(&words, Role::Texts), (vec![3, 2], expected));
    }
}

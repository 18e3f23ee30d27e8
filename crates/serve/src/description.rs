//! Descriptions of a model for the protocol: metadata, configuration, statistics.

use crate::proto::inference as proto;
use crate::registry::Model;
use crate::version::Version;
use ncs_features::{Beside, Field, IdSpace, Schema};
use serde::Serialize;

/// Platform and backend name in Triton's terms.
pub const PLATFORM: &str = "ncs4cvr";

/// Name, type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorDescription {
    /// Name of the column or output.
    pub name: String,
    /// Datatype: `BYTES` or a numeric type.
    pub datatype: &'static str,
    /// Shape; -1 for a variable dimension.
    pub shape: Vec<i64>,
}

/// Metadata of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelDescription {
    /// Name of the model.
    pub name: String,
    /// Loaded versions.
    pub versions: Vec<String>,
    /// Platform: [`PLATFORM`].
    pub platform: &'static str,
    /// Inputs, one per column.
    pub inputs: Vec<TensorDescription>,
    /// Outputs: the tasks, then their products.
    pub outputs: Vec<TensorDescription>,
}

impl ModelDescription {
    /// Describes a version of a model.
    pub fn of(model: &Model, version: &Version) -> ModelDescription {
        let output = |name: &String| TensorDescription {
            name: name.clone(),
            datatype: "FP32",
            shape: vec![-1],
        };
        ModelDescription {
            name: model.name.to_string(),
            versions: model.versions.keys().map(u64::to_string).collect(),
            platform: PLATFORM,
            inputs: inputs(version.schema()),
            outputs: version.identity.outputs.iter().map(output).collect(),
        }
    }

    /// Converts to the protobuf message.
    pub fn to_proto(&self) -> proto::ModelMetadataResponse {
        let tensor = |tensor: &TensorDescription| proto::model_metadata_response::TensorMetadata {
            name: tensor.name.clone(),
            datatype: tensor.datatype.to_owned(),
            shape: tensor.shape.clone(),
        };
        proto::ModelMetadataResponse {
            name: self.name.clone(),
            versions: self.versions.clone(),
            platform: self.platform.to_owned(),
            inputs: self.inputs.iter().map(tensor).collect(),
            outputs: self.outputs.iter().map(tensor).collect(),
        }
    }

    /// Returns Triton's model configuration as JSON.
    pub fn config_json(&self) -> serde_json::Value {
        let tensor = |tensor: &TensorDescription| {
            serde_json::json!({
                "name": tensor.name,
                "data_type": format!("TYPE_{}", config_type(tensor)),
                "dims": tensor.shape,
            })
        };
        serde_json::json!({
            "name": self.name,
            "platform": self.platform,
            "backend": self.platform,
            "max_batch_size": 0,
            "input": self.inputs.iter().map(tensor).collect::<Vec<_>>(),
            "output": self.outputs.iter().map(tensor).collect::<Vec<_>>(),
        })
    }

    /// Returns Triton's model configuration as protobuf.
    pub fn config_proto(&self) -> proto::ModelConfig {
        let data_type = |tensor: &TensorDescription| match tensor.datatype {
            "BYTES" => proto::DataType::TypeString,
            "FP64" => proto::DataType::TypeFp64,
            _ => proto::DataType::TypeFp32,
        };
        let input = |tensor: &TensorDescription| proto::ModelInput {
            name: tensor.name.clone(),
            data_type: data_type(tensor).into(),
            dims: tensor.shape.clone(),
        };
        let output = |tensor: &TensorDescription| proto::ModelOutput {
            name: tensor.name.clone(),
            data_type: data_type(tensor).into(),
            dims: tensor.shape.clone(),
        };
        proto::ModelConfig {
            name: self.name.clone(),
            platform: self.platform.to_owned(),
            max_batch_size: 0,
            input: self.inputs.iter().map(input).collect(),
            output: self.outputs.iter().map(output).collect(),
            backend: self.platform.to_owned(),
        }
    }
}

fn config_type(tensor: &TensorDescription) -> &'static str {
    match tensor.datatype {
        "BYTES" => "STRING",
        number => number,
    }
}

/// Returns a tensor for each column; the first of several fields that read a column gives the type.
fn inputs(schema: &Schema) -> Vec<TensorDescription> {
    let mut inputs: Vec<TensorDescription> = Vec::new();
    for (f, field) in schema.fields.iter().enumerate() {
        for column in field.columns().filter(|_| schema.parts(f).is_none()) {
            if inputs.iter().all(|input| input.name != *column) {
                inputs.push(TensorDescription {
                    name: column.clone(),
                    datatype: datatype(field, column, schema),
                    shape: shape(field, column, schema),
                });
            }
        }
    }
    inputs
}

fn shape(field: &Field, column: &str, schema: &Schema) -> Vec<i64> {
    if let Beside::Ages(ages) = &field.beside
        && ages.at.as_deref() == Some(column)
    {
        return vec![-1];
    }
    match schema.tables[field.table].ids.vector() {
        Some(vector) => vec![-1, i64::from(vector.length)],
        None => vec![-1; if field.pooling.is_some() { 2 } else { 1 }],
    }
}

fn datatype(field: &Field, column: &str, schema: &Schema) -> &'static str {
    match &field.beside {
        Beside::Weights { column: weights } if weights == column => return "FP64",
        Beside::Since { .. } => return "BYTES",
        Beside::Ages(ages) if ages.at.as_deref() == Some(column) => return "BYTES",
        Beside::Ages(ages) if ages.column == column && column != field.column => {
            return match ages.at {
                Some(_) => "BYTES",
                None => "FP64",
            };
        }
        _ => {}
    }
    match schema.tables[field.table].ids {
        IdSpace::Hash { .. }
        | IdSpace::Vocabulary { .. }
        | IdSpace::Cross(_)
        | IdSpace::Time(_) => "BYTES",
        IdSpace::Scaled { .. }
        | IdSpace::Quantiles { .. }
        | IdSpace::Piecewise(_)
        | IdSpace::Vector(_)
        | IdSpace::Rate(_) => "FP64",
    }
}

/// Returns the statistics of a version as protobuf.
pub fn statistics(model: &Model, version: &Version) -> proto::ModelStatistics {
    let statistics = &version.statistics;
    let duration = |total: &crate::statistics::Total| {
        let (count, ns) = total.get();
        Some(proto::StatisticDuration { count, ns })
    };
    let executions = statistics.success.get().0;
    proto::ModelStatistics {
        name: model.name.to_string(),
        version: version.identity.number.to_string(),
        last_inference: statistics.last(),
        inference_count: statistics.candidates(),
        execution_count: executions,
        inference_stats: Some(proto::InferStatistics {
            success: duration(&statistics.success),
            fail: duration(&statistics.fail),
            queue: duration(&statistics.queue),
            compute_input: duration(&statistics.input),
            compute_infer: duration(&statistics.infer),
            compute_output: duration(&statistics.output),
        }),
        batch_stats: vec![],
    }
}

/// Returns the statistics of a version as JSON.
pub fn statistics_json(model: &Model, version: &Version) -> serde_json::Value {
    let statistics = statistics(model, version);
    let duration = |total: &Option<proto::StatisticDuration>| {
        let total = total.unwrap_or_default();
        serde_json::json!({ "count": total.count, "ns": total.ns })
    };
    let inference = statistics.inference_stats.unwrap_or_default();
    serde_json::json!({
        "name": statistics.name,
        "version": statistics.version,
        "last_inference": statistics.last_inference,
        "inference_count": statistics.inference_count,
        "execution_count": statistics.execution_count,
        "inference_stats": {
            "success": duration(&inference.success),
            "fail": duration(&inference.fail),
            "queue": duration(&inference.queue),
            "compute_input": duration(&inference.compute_input),
            "compute_infer": duration(&inference.compute_infer),
            "compute_output": duration(&inference.compute_output),
        },
        "batch_stats": [],
    })
}

//! Common parts of the infer call in JSON and protobuf.

use super::{Accepts, nearest, tensors};
use crate::api_error::{ApiError, ErrorKind};
use crate::rank_request::{ModelSelector, RankQuery, RankScores, VersionSelector};
use crate::words::shown;
use std::collections::HashSet;
use std::time::Duration;

/// An infer request: the rank request and the requested outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferQuery {
    /// The rank request.
    pub rank: RankQuery,
    /// Requested outputs, in this order. `None`: all.
    pub outputs: Option<Vec<RequestedOutput>>,
    /// Default for outputs without `binary_data`. In JSON only.
    pub binary: bool,
}

/// A requested output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Name.
    pub name: String,
    /// Return it as bytes; `None`: the default of the request.
    pub binary: Option<bool>,
}

/// Parameters of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters {
    /// Label of the version.
    pub(super) label: Option<String>,
    /// User, for the canary's share.
    pub(super) user: Option<String>,
    /// Timeout in microseconds, as in Triton.
    pub(super) timeout: Option<u64>,
}

/// Returns the selector for a path: the name of the model and optionally a version.
///
/// # Errors
/// The version is not a number.
pub fn model_selector(name: &str, version: Option<&str>) -> Result<ModelSelector, ApiError> {
    let version = match version {
        None | Some("") => VersionSelector::Routed,
        Some(text) => VersionSelector::Number(text.parse().map_err(|_| {
            let text = shown(text);
            ErrorKind::Invalid.error(format!("\"{text}\" is not a version number"))
        })?),
    };
    Ok(ModelSelector {
        name: Some(name.to_owned()),
        version,
    })
}

/// Builds the rank request of these tensors.
pub(super) fn rank_query(
    mut model: ModelSelector,
    id: String,
    parameters: Parameters,
    inputs: Vec<tensors::Tensor>,
    accepts: &Accepts,
) -> Result<RankQuery, ApiError> {
    if let Some(label) = parameters.label {
        if model.version != VersionSelector::Routed {
            return Err(
                ErrorKind::Invalid.error("both a version and the parameter \"label\"; say one")
            );
        }
        model.version = VersionSelector::Labelled(label);
    }
    let (context, candidates) = tensors::blocks(inputs, accepts)?;
    Ok(RankQuery {
        model,
        id,
        user: parameters.user,
        context,
        candidates,
        top: None,
        timeout: parameters.timeout.map(Duration::from_micros),
    })
}

/// Checks that no output is requested twice, which would make the response longer than its
/// bound.
///
/// # Errors
/// An output is requested twice.
pub(super) fn check_outputs(outputs: &[RequestedOutput]) -> Result<(), ApiError> {
    let mut names = HashSet::new();
    match outputs.iter().find(|output| !names.insert(&output.name)) {
        None => Ok(()),
        Some(output) => Err(ErrorKind::Invalid.error(format!(
            "output \"{}\" is asked for twice; once is enough",
            shown(&output.name)
        ))),
    }
}

/// Returns the indices of the requested outputs, and whether each is returned as bytes.
///
/// # Errors
/// There is no output of a requested name.
pub fn selected_outputs(
    answer: &RankScores,
    requested: Option<&[RequestedOutput]>,
    binary: bool,
) -> Result<Vec<(usize, bool)>, ApiError> {
    let Some(requested) = requested else {
        return Ok((0..answer.outputs.len())
            .map(|index| (index, binary))
            .collect());
    };
    let index = |output: &RequestedOutput| {
        let index = answer.outputs.iter().position(|name| *name == output.name);
        let names = answer.outputs.iter().map(String::as_str);
        let index = index.ok_or_else(|| {
            let hint = nearest(&output.name, names);
            ErrorKind::Invalid.error(format!("no output \"{}\"{hint}", shown(&output.name)))
        })?;
        Ok((index, output.binary.unwrap_or(binary)))
    };
    requested.iter().map(index).collect()
}

//! What both forms of the protocol's infer call have in common.

use super::{Accepts, nearest, tensors};
use crate::api_error::{ApiError, Kind};
use crate::rank_request::{Answer, ModelSelector, Question, VersionSelector};
use crate::words::shown;
use std::collections::HashSet;
use std::time::Duration;

/// A question, and which outputs the caller wants to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferQuestion {
    /// The question.
    pub question: Question,
    /// VersionSelector outputs, in this order. `None`: all.
    pub outputs: Option<Vec<WantedOutput>>,
    /// Whether outputs are binary where nothing is said of them. In JSON only.
    pub binary: bool,
}

/// An output that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its name.
    pub name: String,
    /// Whether as bytes; `None`: as the request says of all.
    pub binary: Option<bool>,
}

/// What a request says besides its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters {
    /// Asks for the version with this label.
    pub(super) label: Option<String>,
    /// The user, for the canary's share.
    pub(super) user: Option<String>,
    /// In microseconds, as Triton counts it.
    pub(super) timeout: Option<u64>,
}

/// The model of a path: its name, and maybe a version.
///
/// # Errors
/// The version is no number.
pub fn wanted(name: &str, version: Option<&str>) -> Result<ModelSelector, ApiError> {
    let version = match version {
        None | Some("") => VersionSelector::Routed,
        Some(text) => VersionSelector::Number(text.parse().map_err(|_| {
            let text = shown(text);
            Kind::Invalid.says(format!("\"{text}\" is no version: versions are numbers"))
        })?),
    };
    Ok(ModelSelector {
        name: Some(name.to_owned()),
        version,
    })
}

/// The question of these tensors.
pub(super) fn question(
    mut model: ModelSelector,
    id: String,
    parameters: Parameters,
    inputs: Vec<tensors::Tensor>,
    accepts: &Accepts,
) -> Result<Question, ApiError> {
    if let Some(label) = parameters.label {
        if model.version != VersionSelector::Routed {
            return Err(Kind::Invalid.says("both a version and the parameter \"label\"; say one"));
        }
        model.version = VersionSelector::Labelled(label);
    }
    let (context, candidates) = tensors::blocks(inputs, accepts)?;
    Ok(Question {
        model,
        id,
        user: parameters.user,
        context,
        candidates,
        top: None,
        timeout: parameters.timeout.map(Duration::from_micros),
    })
}

/// Refuses an output that is asked for twice: an answer must not be longer than what there is to say.
///
/// # Errors
/// There is one.
pub(super) fn check_outputs(outputs: &[WantedOutput]) -> Result<(), ApiError> {
    let mut names = HashSet::new();
    match outputs.iter().find(|output| !names.insert(&output.name)) {
        None => Ok(()),
        Some(output) => Err(Kind::Invalid.says(format!(
            "output \"{}\" is asked for twice; once is enough",
            shown(&output.name)
        ))),
    }
}

/// The outputs that are wanted: their places in the answer, and whether as bytes.
///
/// # Errors
/// A name that no output has.
pub fn chosen(
    answer: &Answer,
    wanted: Option<&[WantedOutput]>,
    binary: bool,
) -> Result<Vec<(usize, bool)>, ApiError> {
    let Some(wanted) = wanted else {
        return Ok((0..answer.outputs.len())
            .map(|place| (place, binary))
            .collect());
    };
    let place = |output: &WantedOutput| {
        let place = answer.outputs.iter().position(|name| *name == output.name);
        let names = answer.outputs.iter().map(String::as_str);
        let place = place.ok_or_else(|| {
            let hint = nearest(&output.name, names);
            Kind::Invalid.says(format!("no output \"{}\"{hint}", shown(&output.name)))
        })?;
        Ok((place, output.binary.unwrap_or(binary)))
    };
    wanted.iter().map(place).collect()
}

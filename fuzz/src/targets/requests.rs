//! Handling of a request that was read: small models score it, and the response is encoded.

use crate::models;
use ncs_features::{Block, Column, Values};
use ncs_model::{Heads, NetworkKind, Precision};
use ncs_serve::ApiError;
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::{RankQuery, RankScores};
use ncs_serve::version::{Scores, Version};
use ncs_serve::wire::{Accepts, rank_json};
use std::cell::RefCell;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Returns the limits of a server, strict (missing columns are errors) and lenient (missing columns are null).
pub(super) fn accepts() -> [Accepts; 2] {
    [false, true].map(|lenient| Accepts {
        candidates: 1000,
        bytes: 256 << 10,
        lenient,
    })
}

/// The models. A version caches rankers for the first sets of context columns that it receives, so it is
/// reloaded regularly.
struct Models {
    versions: [Version; 2],
    n_requests: usize,
}

/// Number of requests after which the models are reloaded.
const MAX_REQUESTS: usize = 5000;

impl Models {
    fn load() -> Models {
        static FOLDER: OnceLock<TempDir> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| write_models().expect("a temporary folder"));
        let load = |name: &str| {
            let version = Version::load(
                &folder.path().join(name),
                &name.into(),
                3,
                Precision::Single,
            );
            version.unwrap_or_else(|error| panic!("{error}"))
        };
        Models {
            versions: ["masked", "mixed"].map(load),
            n_requests: 0,
        }
    }
}

/// Writes a model with rankers, and one without.
fn write_models() -> std::io::Result<TempDir> {
    let folder = super::artifact::folder()?;
    let kinds = [
        ("masked", NetworkKind::SparseSharing),
        ("mixed", NetworkKind::Mmoe { experts: 2 }),
    ];
    for (name, kind) in kinds {
        let artifact = models::artifact(models::schema(), kind, Heads::default());
        let written = artifact.write(&folder.path().join(name));
        written.unwrap_or_else(|error| panic!("{error}"));
    }
    Ok(folder)
}

thread_local! {
    static MODELS: RefCell<Option<(Models, WorkerScratch)>> = const { RefCell::new(None) };
}

/// Reads a request strictly and leniently, scores it, and encodes each response with `respond`. Returns the kind of
/// request, or the error.
pub(super) fn handle<X>(
    read: impl Fn(&Accepts) -> Result<(RankQuery, X), ApiError>,
    respond: impl Fn(&RankScores, &X) -> Result<(), ApiError>,
) -> Result<String, String> {
    let [strict, lenient] = accepts().map(|accepts| {
        let (query, rest) = read(&accepts).map_err(|error| error.message)?;
        let kind = kind_of(&query);
        let scores = score(&query, accepts.lenient, |response| respond(response, &rest))?;
        Ok((kind, scores))
    });
    match (&strict, lenient) {
        (Ok((_, strict)), Ok((_, lenient))) => check_same(strict, &lenient),
        (Ok(_), Err(error)) => panic!("rejected only if lenient: {error}"),
        (Err::<_, String>(_), Err(error)) => return Err(error),
        (Err(error), Ok((kind, _))) => return Ok(format!("{kind}, if lenient: {error}")),
    }
    strict.map(|(kind, _)| kind)
}

/// Scores a request with all models.
fn score(
    query: &RankQuery,
    lenient: bool,
    respond: impl Fn(&RankScores) -> Result<(), ApiError>,
) -> Result<Vec<Vec<Vec<f32>>>, String> {
    // Taken out, so that a panic leaves no inconsistent state.
    let kept = MODELS
        .take()
        .filter(|(models, _)| models.n_requests < MAX_REQUESTS);
    let (mut models, mut scratch) = kept.unwrap_or_else(|| (Models::load(), WorkerScratch::new()));
    models.n_requests += 1;
    let of_version = |version: &Version| {
        let scores = version.score(&mut query.clone(), lenient, &mut scratch)?;
        check(version, &scores, query.candidates.n_rows);
        let response = response(version, &scores, query);
        check_json(&response);
        respond(&response)?;
        Ok(scores.calibrated)
    };
    let scores: Result<Vec<_>, ApiError> = models.versions.iter().map(of_version).collect();
    MODELS.set(Some((models, scratch)));
    scores.map_err(|error| error.message)
}

/// Checks that there is a probability for each output and candidate.
pub(super) fn check(version: &Version, scores: &Scores, n_candidates: usize) {
    assert_eq!(scores.calibrated.len(), version.identity.outputs.len());
    for scores in scores.calibrated.iter().chain(&scores.raw) {
        assert_eq!(scores.len(), n_candidates, "a score for each candidate");
        let wrong = scores.iter().find(|score| !(0.0..=1.0).contains(*score));
        assert_eq!(wrong, None, "not a probability");
    }
}

fn check_same(strict: &[Vec<Vec<f32>>], lenient: &[Vec<Vec<f32>>]) {
    let all = |scores: &[Vec<Vec<f32>>]| scores.concat().concat();
    for (strict, lenient) in all(strict).into_iter().zip(all(lenient)) {
        assert!(
            (strict - lenient).abs() < 1e-3,
            "{strict} is {lenient} if lenient"
        );
    }
}

fn response(version: &Version, scores: &Scores, query: &RankQuery) -> RankScores {
    RankScores {
        id: query.id.clone(),
        model: version.identity.model.clone(),
        version: version.identity.number,
        hash: version.identity.hash.clone(),
        label: None,
        outputs: version.identity.outputs.clone(),
        scores: scores.calibrated.clone(),
        best: query.top.as_ref().map(|_| vec![0]),
    }
}

/// Checks that the scores in the JSON response are exact.
fn check_json(response: &RankScores) {
    let text = rank_json::answer(response);
    let read: serde_json::Value = serde_json::from_slice(&text).expect("valid JSON");
    assert_eq!(read["id"], *response.id);
    for (output, scores) in response.outputs.iter().zip(&response.scores) {
        let read = read["scores"][output].as_array().expect("a list");
        let read: Vec<f32> = read
            .iter()
            .filter_map(|x| Some(x.as_f64()? as f32))
            .collect();
        assert_eq!(&read, scores);
    }
}

/// Describes the kind of a request.
fn kind_of(query: &RankQuery) -> String {
    let top = match query.top {
        Some(_) => ", the best",
        None => "",
    };
    let rows = match query.candidates.n_rows {
        0 => "no rows",
        1..=3 => "few rows",
        4..=64 => "a tile of rows",
        _ => "many rows",
    };
    let (context, candidates) = (kind(&query.context), kind(&query.candidates));
    format!("{context}; {rows} of {candidates}{top}")
}

/// Lists the types of the columns, with lists and nulls.
fn kind(block: &Block) -> String {
    let columns = &block.columns;
    let has = |is: fn(&Column) -> bool| columns.iter().any(is);
    let kinds = [
        (
            "texts ",
            has(|column| matches!(column.values, Values::Text(_))),
        ),
        (
            "whole ",
            has(|column| matches!(column.values, Values::Int(_))),
        ),
        (
            "float ",
            has(|column| matches!(column.values, Values::Float(_))),
        ),
        ("lists ", has(|column| column.offsets.is_some())),
        ("nulls ", has(|column| column.nulls.contains(&true))),
    ];
    let present = kinds.iter().filter(|(_, has)| *has);
    present.map(|(kind, _)| *kind).collect()
}

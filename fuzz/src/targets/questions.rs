//! A question that was read goes on: small models score it, and the answer is written.

use crate::models;
use ncs_features::{Block, Column, Values};
use ncs_model::{Heads, NetworkKind};
use ncs_serve::ApiError;
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::{RankQuery, RankScores};
use ncs_serve::version::{Scores, Version};
use ncs_serve::wire::{Accepts, rank_json};
use std::cell::RefCell;
use std::sync::OnceLock;
use tempfile::TempDir;

/// What a server takes, where a column that is absent is an error and where it is null.
pub(super) fn accepts() -> [Accepts; 2] {
    [false, true].map(|lenient| Accepts {
        candidates: 1000,
        bytes: 256 << 10,
        lenient,
    })
}

/// The models. A version makes rankers for the first sets of context columns that it meets, so it is
/// loaded anew after a while.
struct Models {
    versions: [Version; 2],
    n_asked: usize,
}

const ASKED: usize = 5000;

impl Models {
    fn load() -> Models {
        static FOLDER: OnceLock<TempDir> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| write_models().expect("a temporary folder"));
        let load = |name: &str| {
            let version = Version::load(&folder.path().join(name), &name.into(), 3);
            version.unwrap_or_else(|error| panic!("{error}"))
        };
        Models {
            versions: ["masked", "mixed"].map(load),
            n_asked: 0,
        }
    }
}

/// One model that has rankers, and one that has none.
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

/// Reads a request strictly and leniently, scores it, and has `say` write each answer; the kind of
/// question that it is, or why it is refused.
pub(super) fn ask<X>(
    read: impl Fn(&Accepts) -> Result<(RankQuery, X), ApiError>,
    say: impl Fn(&RankScores, &X) -> Result<(), ApiError>,
) -> Result<String, String> {
    let [strict, lenient] = accepts().map(|accepts| {
        let (question, rest) = read(&accepts).map_err(|refusal| refusal.what)?;
        let kind = kind_of(&question);
        let scores = score(&question, accepts.lenient, |answer| say(answer, &rest))?;
        Ok((kind, scores))
    });
    match (&strict, lenient) {
        (Ok((_, strict)), Ok((_, lenient))) => check_same(strict, &lenient),
        (Ok(_), Err(refusal)) => panic!("refused where lenient only: {refusal}"),
        (Err::<_, String>(_), Err(refusal)) => return Err(refusal),
        (Err(refusal), Ok((kind, _))) => return Ok(format!("{kind}, where lenient: {refusal}")),
    }
    strict.map(|(kind, _)| kind)
}

/// What all models say of a question.
fn score(
    question: &RankQuery,
    lenient: bool,
    say: impl Fn(&RankScores) -> Result<(), ApiError>,
) -> Result<Vec<Vec<Vec<f32>>>, String> {
    // Taken out, so that a panic leaves nothing half done behind.
    let kept = MODELS.take().filter(|(models, _)| models.n_asked < ASKED);
    let (mut models, mut scratch) = kept.unwrap_or_else(|| (Models::load(), WorkerScratch::new()));
    models.n_asked += 1;
    let of_version = |version: &Version| {
        let scores = version.score(&mut question.clone(), lenient, &mut scratch)?;
        check(version, &scores, question.candidates.n_rows);
        let answer = answer(version, &scores, question);
        check_text(&answer);
        say(&answer)?;
        Ok(scores.said)
    };
    let said: Result<Vec<_>, ApiError> = models.versions.iter().map(of_version).collect();
    MODELS.set(Some((models, scratch)));
    said.map_err(|refusal| refusal.what)
}

/// A probability for each output and candidate.
pub(super) fn check(version: &Version, scores: &Scores, n_candidates: usize) {
    assert_eq!(scores.said.len(), version.identity.outputs.len());
    for scores in scores.said.iter().chain(&scores.raw) {
        assert_eq!(scores.len(), n_candidates, "a score a candidate");
        let wrong = scores.iter().find(|score| !(0.0..=1.0).contains(*score));
        assert_eq!(wrong, None, "no probability");
    }
}

fn check_same(strict: &[Vec<Vec<f32>>], lenient: &[Vec<Vec<f32>>]) {
    let all = |scores: &[Vec<Vec<f32>>]| scores.concat().concat();
    for (strict, lenient) in all(strict).into_iter().zip(all(lenient)) {
        assert!(
            (strict - lenient).abs() < 1e-3,
            "{strict} is {lenient} where lenient"
        );
    }
}

pub(super) fn answer(version: &Version, scores: &Scores, question: &RankQuery) -> RankScores {
    RankScores {
        id: question.id.clone(),
        model: version.identity.model.clone(),
        version: version.identity.number,
        hash: version.identity.hash.clone(),
        label: None,
        outputs: version.identity.outputs.clone(),
        scores: scores.said.clone(),
        best: question.top.as_ref().map(|_| vec![0]),
    }
}

/// The answer in JSON says the scores as they are.
fn check_text(answer: &RankScores) {
    let text = rank_json::answer(answer);
    let read: serde_json::Value = serde_json::from_slice(&text).expect("an answer is JSON");
    assert_eq!(read["id"], *answer.id);
    for (output, scores) in answer.outputs.iter().zip(&answer.scores) {
        let read = read["scores"][output].as_array().expect("a list");
        let read: Vec<f32> = read
            .iter()
            .filter_map(|x| Some(x.as_f64()? as f32))
            .collect();
        assert_eq!(&read, scores);
    }
}

/// What a question is like, coarsely.
fn kind_of(question: &RankQuery) -> String {
    let top = match question.top {
        Some(_) => ", the best",
        None => "",
    };
    let rows = match question.candidates.n_rows {
        0 => "no rows",
        1..=3 => "few rows",
        4..=64 => "a tile of rows",
        _ => "many rows",
    };
    let (context, candidates) = (kind(&question.context), kind(&question.candidates));
    format!("{context}; {rows} of {candidates}{top}")
}

/// The types of the columns, and whether there are lists and nulls among them.
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
    let found = kinds.iter().filter(|(_, has)| *has);
    found.map(|(kind, _)| *kind).collect()
}

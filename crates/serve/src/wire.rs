//! Requests and answers as bytes: JSON and protobuf, the rank call and the Open Inference Protocol.
//! Nothing here knows a model: columns get their meaning when they are encoded.

pub mod columns_json;
pub mod infer;
pub mod infer_json;
pub mod infer_proto;
pub mod rank_json;
pub mod rank_proto;
pub mod tensors;

use crate::refusal::{Kind, Refusal};

/// What the server takes, whatever the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Candidates in one request.
    pub candidates: usize,
    /// Whether a column that is absent counts as null, and one that is unknown is passed over.
    pub lenient: bool,
}

/// More columns than this in one request are a mistake.
pub const MOST_COLUMNS: usize = 4096;

impl Accepts {
    /// Refuses more candidates than one request may have.
    ///
    /// # Errors
    /// There are more.
    pub fn check_candidates(&self, n: usize) -> Result<(), Refusal> {
        match n <= self.candidates {
            true => Ok(()),
            false => Err(self.too_many()),
        }
    }

    fn too_many(&self) -> Refusal {
        Kind::TooLarge.says(format!(
            "more than {} candidates, the most that one request may have here; send them in several \
             requests, or start the server with a higher --max-candidates",
            self.candidates
        ))
    }
}

/// `; did you mean "x"?` where a known name is near, else the nearest one and all of them, sorted.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    let near = known.iter().copied().min_by_key(distance);
    let Some(near) = near else {
        return "; there are none".to_owned();
    };
    if distance(&near) <= 2.max(name.chars().count() / 3) {
        return format!("; did you mean {near:?}?");
    }
    format!("; the nearest is {near:?}, known are {}", listed(&known))
}

/// Names in quotes, at most twenty of them.
pub(crate) fn listed(names: &[&str]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| format!("{name:?}"))
        .collect();
    let rest = names.len().saturating_sub(MOST);
    match (shown.len(), rest) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {rest} more", shown.join(", ")),
    }
}

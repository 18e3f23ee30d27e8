//! Requests and answers as bytes: JSON and protobuf, the rank call and the Open Inference Protocol.
//! Nothing here knows a model: columns get their meaning when they are encoded.

pub mod bounds;
pub mod columns_json;
mod count_proto;
pub mod infer;
pub mod infer_json;
pub mod infer_proto;
pub mod rank_json;
pub mod rank_proto;
mod short_json;
pub mod tensors;

pub(crate) use count_proto::malformed as proto_malformed;

use crate::api_error::{ApiError, Kind};
use crate::words::shown;

/// What the server takes, whatever the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Candidates in one request.
    pub candidates: usize,
    /// Bytes that the columns of one request may take in memory: as many as its body may have.
    pub bytes: usize,
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
    pub fn check_candidates(&self, n: usize) -> Result<(), ApiError> {
        match n <= self.candidates {
            true => Ok(()),
            false => Err(self.too_many()),
        }
    }

    fn too_many(&self) -> ApiError {
        Kind::TooLarge.says(format!(
            "more than {} candidates, the most that one request may have here; send them in several \
             requests, or start the server with a higher --max-candidates",
            self.candidates
        ))
    }
}

/// Characters of a name that are compared with known ones: comparing takes as long as the product of both
/// lengths.
const MOST_COMPARED: usize = 64;

/// The most known names that are compared.
const MOST_KNOWN: usize = 1000;

/// `, did you mean "x"?` where a known name is near, else the known names.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    fn compared(name: &str) -> &str {
        let end = name.char_indices().nth(MOST_COMPARED);
        end.map_or(name, |(end, _)| &name[..end])
    }
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    let name = compared(name);
    let distance = |other: &&str| strsim::damerau_levenshtein(name, compared(other));
    let near = known.iter().copied().take(MOST_KNOWN).min_by_key(distance);
    let Some(near) = near else {
        return "; there are none".to_owned();
    };
    if distance(&near) <= 2.max(name.chars().count() / 3) {
        return format!("; did you mean {:?}?", shown(near));
    }
    format!(
        "; the nearest is {:?}, known are {}",
        shown(near),
        listed(&known)
    )
}

/// Names in quotes, at most twenty of them.
pub(crate) fn listed(names: &[&str]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| format!("{:?}", shown(name)))
        .collect();
    let rest = names.len().saturating_sub(MOST);
    match (shown.len(), rest) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {rest} more", shown.join(", ")),
    }
}

//! Requests and responses in JSON and protobuf: the rank call and the Open Inference Protocol. This module
//! is independent of models: columns are interpreted when they are encoded.

pub mod bounds;
pub mod columns_json;
mod count_proto;
pub mod datatype;
pub mod infer;
pub mod infer_json;
pub mod infer_proto;
pub mod rank_json;
pub mod rank_proto;
mod short_json;
pub mod tensors;

pub(crate) use count_proto::malformed as proto_malformed;

use crate::api_error::{ApiError, ErrorKind};
use crate::words::shown;

/// Limits of the contents of a request, for all models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// Maximum number of candidates in one request.
    pub candidates: usize,
    /// Maximum bytes of memory for the columns of one request: the maximum size of its body.
    pub bytes: usize,
    /// True if absent columns are null and unknown columns are ignored.
    pub lenient: bool,
}

/// Maximum number of columns in one request.
pub const MAX_COLUMNS: usize = 4096;

impl Accepts {
    /// Checks the number of candidates of a request.
    ///
    /// # Errors
    /// There are too many.
    pub fn check_candidates(&self, n: usize) -> Result<(), ApiError> {
        if n <= self.candidates {
            Ok(())
        } else {
            Err(self.too_many())
        }
    }

    fn too_many(&self) -> ApiError {
        ErrorKind::TooLarge.error(format!(
            "more than {} candidates, the limit for one request; send them in several \
             requests, or start the server with a higher --max-candidates",
            self.candidates
        ))
    }
}

/// Maximum number of characters of a name compared with known ones: the time is the product of both lengths.
const MAX_COMPARED: usize = 64;

/// Maximum number of known names compared.
const MAX_KNOWN: usize = 1000;

/// Returns `; did you mean "x"?` if a known name is similar, else a list of the known names.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    fn compared(name: &str) -> &str {
        let end = name.char_indices().nth(MAX_COMPARED);
        end.map_or(name, |(end, _)| &name[..end])
    }
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    let name = compared(name);
    let distance = |other: &&str| strsim::damerau_levenshtein(name, compared(other));
    let near = known.iter().copied().take(MAX_KNOWN).min_by_key(distance);
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

/// Returns names in quotes, at most twenty of them.
pub(crate) fn listed(names: &[&str]) -> String {
    const MAX: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(MAX)
        .map(|name| format!("{:?}", shown(name)))
        .collect();
    let rest = names.len().saturating_sub(MAX);
    match (shown.len(), rest) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        _ => format!("{} and {rest} more", shown.join(", ")),
    }
}

//! Keys of the callers who may score.

use crate::api_error::{ApiError, ErrorKind};
use crate::api_state::Caller;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// Minimum length of a key: too long to be guessed, so wrong ones need no rate limit.
const MIN_LENGTH: usize = 16;

/// Keys of which a caller needs one to score. Only their hashes are kept.
#[derive(Clone)]
pub struct ApiKeys(Vec<blake3::Hash>);

/// A text without valid keys.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiKeysError {
    /// A key is too short or has other characters than visible ASCII ones.
    #[error("line {line}: a key must have at least {MIN_LENGTH} characters and no spaces")]
    Key {
        /// The line, from 1.
        line: usize,
    },
    /// There is no key.
    #[error("it has no key; write one a line")]
    Empty,
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({} keys)", self.0.len())
    }
}

impl ApiKeys {
    /// Reads one key a line; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// A key is too short or has a space in it, or there is none. The error does not show the key.
    pub fn parse(text: &str) -> Result<ApiKeys, ApiKeysError> {
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let key = |(key, line): (&str, usize)| {
            let is_valid = key.len() >= MIN_LENGTH && key.chars().all(|c| c.is_ascii_graphic());
            let hash = || blake3::hash(key.as_bytes());
            is_valid.then(hash).ok_or(ApiKeysError::Key { line })
        };
        let keys: Vec<blake3::Hash> = lines.map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(ApiKeysError::Empty);
        }
        Ok(ApiKeys(keys))
    }

    /// Checks that the caller has one of the keys.
    ///
    /// # Errors
    /// The caller has none, or another.
    pub fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let is_known = caller.bearer().is_some_and(|given| self.has(given));
        if is_known {
            return Ok(());
        }
        Err(ErrorKind::Unauthenticated.error(
            "scoring needs an API key of this server, in the header Authorization: Bearer KEY",
        ))
    }

    /// Returns true for one of the keys; the time taken does not depend on which, or on how much of it is right.
    fn has(&self, given: &str) -> bool {
        let given = blake3::hash(given.as_bytes());
        let equal = |key: &blake3::Hash| key.as_bytes().ct_eq(given.as_bytes());
        let any = self.0.iter().map(equal);
        any.fold(Choice::from(0), |found, equal| found | equal)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines() {
        let keys =
            ApiKeys::parse("# ranker\nabcdefgh-12345678\n\n  other-key-of-batch  \n").unwrap();
        assert!(keys.has("abcdefgh-12345678") && keys.has("other-key-of-batch"));
        for wrong in ["", "abcdefgh-1234567", "# ranker", "abcdefgh-123456789"] {
            assert!(!keys.has(wrong), "{wrong}");
        }
        assert_eq!(format!("{keys:?}"), "ApiKeys(2 keys)");
        let error = |text| ApiKeys::parse(text).unwrap_err();
        assert_eq!(error("# none\n"), ApiKeysError::Empty);
        assert_eq!(
            error("abcdefgh-12345678\nshort"),
            ApiKeysError::Key { line: 2 }
        );
        assert_eq!(
            error("a key with some spaces"),
            ApiKeysError::Key { line: 1 }
        );
    }
}

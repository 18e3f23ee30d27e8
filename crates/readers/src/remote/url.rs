//! Names of objects: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `az://CONTAINER/KEY`, `http://HOST/PATH`, `https://HOST/PATH`.

use crate::source::ReadError;
use std::path::{Path, PathBuf};

/// Schemes that name object stores, with what follows them.
const SCHEMES: [(&str, Scheme); 5] = [
    ("s3://", Scheme::S3),
    ("gs://", Scheme::Gcs),
    ("az://", Scheme::Azure),
    ("http://", Scheme::Http),
    ("https://", Scheme::Http),
];

/// The protocol of a store.
#[cfg_attr(
    not(feature = "object-store"),
    allow(dead_code, reason = "only builds with object stores make connections")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scheme {
    S3,
    Gcs,
    Azure,
    Http,
}

/// The name of an object, or a glob or folder of objects.
#[cfg_attr(
    not(feature = "object-store"),
    allow(dead_code, reason = "only builds with object stores make connections")
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    /// Scheme and bucket, container or host: `s3://bucket`.
    pub(crate) store: String,
    /// Bucket, container or host.
    pub(crate) bucket: String,
    /// What follows, without the first slash.
    pub(crate) key: String,
}

/// Returns true if a path or pattern is the URL of an object in a store, not a file of this machine.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    path.to_str().is_some_and(|text| scheme(text).is_some())
}

fn scheme(text: &str) -> Option<(&'static str, Scheme)> {
    SCHEMES.into_iter().find(|(start, _)| {
        let begin = text.as_bytes().get(..start.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
    })
}

impl Url {
    /// Parses the URL of an object; `None` for a path of this machine.
    ///
    /// # Errors
    /// It has no bucket or host; or it holds a password or a query, such as a signature, which would be shown wherever the
    /// files of a run are named.
    pub(crate) fn parse(text: &str) -> Result<Option<Url>, ReadError> {
        let Some((start, scheme)) = scheme(text) else {
            return Ok(None);
        };
        let refused = |what: &str| {
            let what = what.to_owned();
            let path = PathBuf::from(redacted(text));
            Err(ReadError::Remote { path, what })
        };
        let rest = &text[start.len()..];
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return refused(
                "a URL with a user or a password is not read, as it would be shown in reports; set credentials in the \
                 environment",
            );
        }
        let has_query = scheme == Scheme::Http && rest.contains(['?', '#']);
        if has_query {
            return refused(
                "a URL with a query is not read: a signature in it would be shown in reports; name the object in its \
                 store (s3://, gs://, az://) with credentials in the environment, or download it",
            );
        }
        if bucket.is_empty() {
            return refused(
                "its bucket or host is missing; write s3://BUCKET/KEY or https://HOST/PATH",
            );
        }
        Ok(Some(Url {
            scheme,
            store: format!("{start}{bucket}"),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }))
    }

    /// Returns the path by which an object of this store is named.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.store))
    }
}

/// Returns a text in which URLs have neither users, passwords nor queries: these may be credentials.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(place) = rest.find("://") {
        let (before, after) = rest.split_at(place + 3);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>)]}".contains(c));
        let (url, next) = after.split_at(end.unwrap_or(after.len()));
        shown.push_str(before);
        shown.push_str(&without_secrets(url));
        rest = next;
    }
    shown + rest
}

fn without_secrets(url: &str) -> String {
    let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    let (whole, secret) = match url.split_once(['?', '#']) {
        Some((whole, query)) if !query.is_empty() => (whole, "?..."),
        _ => (url, ""),
    };
    match host.rsplit_once('@') {
        Some((_, host)) => {
            let path = path.split_once(['?', '#']).map_or(path, |(path, _)| path);
            format!("...@{host}{path}{secret}")
        }
        None => format!("{whole}{secret}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_store_and_a_key() {
        let check = |text: &str, store: &str, key: &str| {
            let url = Url::parse(text).unwrap().unwrap();
            assert_eq!((&url.store[..], &url.key[..]), (store, key), "{text}");
        };
        check("s3://logs/day=1/a.parquet", "s3://logs", "day=1/a.parquet");
        check("S3://logs", "s3://logs", "");
        check("s3://logs/a?.csv", "s3://logs", "a?.csv");
        check(
            "http://127.0.0.1:80/a b.csv",
            "http://127.0.0.1:80",
            "a b.csv",
        );
        for path in ["logs/a.csv", "/s3://x", "file://a", "s3:/a", ""] {
            assert_eq!(Url::parse(path).unwrap(), None, "{path}");
            assert!(!is_remote(path.as_ref()));
        }
    }

    #[test]
    fn secrets_are_neither_read_nor_shown() {
        let check = |text: &str, shown: &str| {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(shown), "{error}");
            assert!(!error.contains("SECRET"), "{error}");
        };
        check(
            "https://me:SECRET@host/a.csv",
            "https://...@host/a.csv: a URL with a user",
        );
        check(
            "https://host/a.csv?sig=SECRET",
            "https://host/a.csv?...: a URL with a query",
        );
        check(
            "https://u:SECRET@host/a?X=SECRET",
            "https://...@host/a?...: a URL with a user",
        );
        check("s3:///a.csv", "s3:///a.csv: its bucket or host is missing");
        let text = "GET \"https://x/a?sig=SECRET\" (https://k:SECRET@y) and http://z/b";
        assert_eq!(
            redacted(text),
            "GET \"https://x/a?...\" (https://...@y) and http://z/b"
        );
    }
}

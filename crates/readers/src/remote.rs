//! Objects in stores, read as files are: S3, Google Cloud Storage, Azure, HTTP.
//!
//! An object is read by ranges, the next one while the last is worked on, and each only if the object is the one that was
//! opened (its ETag). Requests that fail are repeated with growing pauses. Credentials come from the environment.

#[cfg(not(feature = "object-store"))]
mod absent;
#[cfg(feature = "object-store")]
mod object;
#[cfg(feature = "object-store")]
mod store;
mod url;

#[cfg(not(feature = "object-store"))]
pub(crate) use absent::{Object, list};
#[cfg(feature = "object-store")]
pub(crate) use object::Object;
#[cfg(feature = "object-store")]
pub(crate) use store::list;
pub(crate) use url::Url;
pub use url::{is_remote, redacted};

/// Attributes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectFacts {
    /// Size in bytes.
    pub(crate) n_bytes: u64,
    /// Time of its last change in seconds and nanoseconds since 1970, as far as the store says.
    pub(crate) modified: (i64, u32),
    /// The store's mark of this content, if it has one.
    pub(crate) e_tag: Option<String>,
}

/// An object found in a store.
#[cfg_attr(
    not(feature = "object-store"),
    allow(dead_code, reason = "only builds with object stores find any")
)]
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its key.
    pub(crate) key: String,
    /// Size in bytes.
    pub(crate) n_bytes: u64,
}

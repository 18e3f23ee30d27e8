//! Builds without object stores: every URL is refused.

use super::{Listed, ObjectFacts, Url};
use crate::source::ReadError;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// An object, of which this build opens none.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "only builds with object stores make one")]
pub(crate) struct Object {
    facts: ObjectFacts,
}

fn refused(path: &Path) -> ReadError {
    ReadError::Remote {
        path: path.to_owned(),
        what: "this build of ncs has no object stores; build it with --features object-store, or copy the file"
            .to_owned(),
    }
}

impl Object {
    pub(crate) fn open(path: &Path) -> Result<Object, ReadError> {
        Err(refused(path))
    }

    pub(crate) fn facts(&self) -> &ObjectFacts {
        &self.facts
    }

    pub(crate) fn from(&self, _: u64) -> Object {
        self.clone()
    }

    pub(crate) fn bytes(&self, _: u64, _: usize) -> io::Result<bytes::Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Read for Object {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Seek for Object {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(crate) fn list(url: &Url, prefix: &str) -> Result<Vec<Listed>, ReadError> {
    Err(refused(&url.path_of(prefix)))
}

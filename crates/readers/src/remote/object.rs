//! One object, read from any place on.

use super::store::{connect, facts, first_line, key, runtime, unanswered, wait};
use super::{ObjectFacts, Url};
use crate::source::ReadError;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot::{self, Receiver};

/// Bytes of one request.
const BLOCK: u64 = 1 << 20;

/// Blocks that are asked for ahead where an object is read from its beginning to its end.
const AHEAD: u64 = 4;

/// Blocks that are kept where an object is read here and there: a Parquet file, by columns.
const KEPT: usize = 128;

/// Times that a range is asked for again if the connection is cut while it comes.
const ATTEMPTS: usize = 4;

type Answer = Result<Bytes, object_store::Error>;

/// An object that was opened, with a place in it.
pub(crate) struct Object {
    source: Arc<Opened>,
    place: u64,
    /// True if it is read from a place to its end; false for a look here and there.
    is_stream: bool,
    /// Bytes at hand, which begin at `place`.
    at_hand: Bytes,
    /// Blocks on their way, by number, ascending.
    coming: VecDeque<(u64, Receiver<Answer>)>,
}

struct Opened {
    store: Arc<dyn ObjectStore>,
    key: Key,
    facts: ObjectFacts,
    /// Blocks by number, the latest used at the end.
    kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Object")
            .field("key", &self.source.key)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Object {
    /// Looks at an object; nothing of it is read yet.
    ///
    /// # Errors
    /// There is no such object, access is denied, or the store does not answer.
    pub(crate) fn open(path: &Path) -> Result<Object, ReadError> {
        let text = path.to_str().unwrap_or_default();
        let not_one = || ReadError::Remote {
            path: path.to_owned(),
            what: "this is not the URL of an object".to_owned(),
        };
        let url = Url::parse(text)?.ok_or_else(not_one)?;
        let key = key(&url, path)?;
        let store = connect(&url)?;
        let facts = facts(&store, &key, path)?;
        let opened = Opened {
            store,
            key,
            facts,
            kept: Mutex::default(),
        };
        Ok(Object::at(Arc::new(opened), 0, true))
    }

    fn at(source: Arc<Opened>, place: u64, is_stream: bool) -> Object {
        Object {
            source,
            place,
            is_stream,
            at_hand: Bytes::new(),
            coming: VecDeque::new(),
        }
    }

    /// Returns its attributes, as they were when it was opened.
    pub(crate) fn facts(&self) -> &ObjectFacts {
        &self.source.facts
    }

    /// Returns the same object at another place, for a look at what is there.
    pub(crate) fn from(&self, place: u64) -> Object {
        Object::at(self.source.clone(), place, false)
    }

    /// Reads `n_bytes` from `place` on.
    ///
    /// # Errors
    /// The object ends before, was changed, or the store does not answer.
    pub(crate) fn bytes(&self, place: u64, n_bytes: usize) -> io::Result<Bytes> {
        let end = place.checked_add(n_bytes as u64);
        let end = end.filter(|end| *end <= self.source.facts.n_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let n_blocks = end.div_ceil(BLOCK) - place / BLOCK;
        if n_blocks > 2 {
            // A large part, such as the pages of a column: at once, and not kept.
            let source = self.source.clone();
            return wait(async move { source.get(place..end).await }).map_err(|e| failed(&e));
        }
        let mut bytes = Vec::with_capacity(n_bytes);
        let mut from = place;
        while from < end {
            let block = self.source.clone().block(from / BLOCK)?;
            let start = (from % BLOCK) as usize;
            let n = (block.len() - start).min((end - from) as usize);
            bytes.extend_from_slice(&block[start..start + n]);
            from += n as u64;
        }
        Ok(bytes.into())
    }

    /// Has the next bytes at hand, unless the object ends here.
    fn fill(&mut self) -> io::Result<()> {
        if !self.at_hand.is_empty() || self.place >= self.source.facts.n_bytes {
            return Ok(());
        }
        let number = self.place / BLOCK;
        let mut block = match self.is_stream {
            true => self.next_of_stream(number)?,
            false => self.source.clone().block(number)?,
        };
        self.at_hand = block.split_off((self.place % BLOCK) as usize);
        Ok(())
    }

    /// Returns a block that was asked for ahead, and asks for those that follow.
    fn next_of_stream(&mut self, number: u64) -> io::Result<Bytes> {
        if self
            .coming
            .front()
            .is_none_or(|(first, _)| *first != number)
        {
            self.coming.clear();
        }
        let next = self.coming.back().map_or(number, |(last, _)| last + 1);
        let n_blocks = self.source.facts.n_bytes.div_ceil(BLOCK);
        for number in next..n_blocks.min(number + 1 + AHEAD) {
            let (send, receive) = oneshot::channel();
            let source = self.source.clone();
            runtime().spawn(async move {
                // Not wanted any more if the reader went elsewhere.
                let _ = send.send(source.get(source.range(number)).await);
            });
            self.coming.push_back((number, receive));
        }
        let (_, answer) = self
            .coming
            .pop_front()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        wait(async move { answer.await.unwrap_or_else(|_| Err(unanswered())) })
            .map_err(|error| failed(&error))
    }
}

impl Opened {
    fn range(&self, block: u64) -> Range<u64> {
        block * BLOCK..((block + 1) * BLOCK).min(self.facts.n_bytes)
    }

    /// Returns a block, and keeps it.
    fn block(self: Arc<Self>, number: u64) -> io::Result<Bytes> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut kept = kept();
            let place = kept.iter().position(|(other, _)| *other == number);
            place.and_then(|place| kept.remove(place))
        };
        let block = match known {
            Some((_, block)) => block,
            None => {
                let source = self.clone();
                wait(async move { source.get(source.range(number)).await })
                    .map_err(|error| failed(&error))?
            }
        };
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((number, block.clone()));
        Ok(block)
    }
}

impl Opened {
    /// Gets a range, again if the connection is cut while it comes.
    async fn get(&self, range: Range<u64>) -> Answer {
        let mut attempt = 1;
        loop {
            let answer = self.get_once(range.clone()).await;
            let is_cut = matches!(&answer, Err(object_store::Error::Generic { .. }));
            let is_short = answer
                .as_ref()
                .is_ok_and(|bytes| bytes.len() as u64 != range.end - range.start);
            if attempt == ATTEMPTS || !(is_cut || is_short) {
                return match is_short {
                    true => Err(short(&range)),
                    false => answer,
                };
            }
            tokio::time::sleep(std::time::Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }

    async fn get_once(&self, range: Range<u64>) -> Answer {
        let options = GetOptions {
            if_match: self.facts.e_tag.clone(),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.store.get_opts(&self.key, options).await?.bytes().await
    }
}

fn short(range: &Range<u64>) -> object_store::Error {
    let text = format!(
        "the store sent fewer bytes than {} to {}",
        range.start, range.end
    );
    object_store::Error::Generic {
        store: "object",
        source: text.into(),
    }
}

/// Returns the error of a request as one of a file. A cut connection is not a damaged file.
fn failed(error: &object_store::Error) -> io::Error {
    let kind = match error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        object_store::Error::Precondition { .. } => io::ErrorKind::StaleNetworkFileHandle,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, first_line(error))
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let n = self.at_hand.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.at_hand.split_to(n));
        self.place += n as u64;
        Ok(n)
    }
}

impl Seek for Object {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(place) => (place, 0),
            SeekFrom::Current(by) => (self.place, by),
            SeekFrom::End(by) => (self.source.facts.n_bytes, by),
        };
        let place = from
            .checked_add_signed(by)
            .ok_or(io::ErrorKind::InvalidInput)?;
        if place != self.place {
            self.place = place;
            self.at_hand = Bytes::new();
            self.coming.clear();
        }
        Ok(place)
    }
}

//! Memory bound of a request, enforced while it is read: a few bytes in a message can expand to many in
//! memory.

use super::Accepts;
use crate::api_error::{ApiError, ErrorKind};
use crate::words::shown;
use ncs_features::json::{Cell as Value, explained};
use serde::de::Error;
use std::cell::{Cell, RefCell};

/// Maximum bytes of a name: of a column, a model, a label, an output, a user.
pub const MAX_NAME: usize = 1024;

/// Maximum bytes of a request id, which is copied to responses, logs and the score log.
pub const MAX_ID: usize = 200;

/// Bytes of a column besides its values.
const COLUMN: usize = 256;

/// Bytes of a number or a row of a column.
pub(super) const NUMBER: usize = 8;

/// Bytes of a text besides its contents.
pub(super) const TEXT: usize = 4;

/// Bytes of a list's item while the list is read.
const ITEM: usize = size_of::<Value<'static>>();

/// Remaining memory of a request: its columns may take as many bytes as its body may have.
#[derive(Debug)]
pub struct Bounds<'a> {
    pub(super) accepts: &'a Accepts,
    left: Cell<usize>,
    /// The error that stopped a parser, if it was a bound.
    refused: RefCell<Option<ApiError>>,
}

impl<'a> Bounds<'a> {
    /// Creates the full allowance.
    pub fn new(accepts: &'a Accepts) -> Bounds<'a> {
        Bounds {
            accepts,
            left: Cell::new(accepts.bytes),
            refused: RefCell::new(None),
        }
    }

    /// Takes bytes from the allowance.
    ///
    /// # Errors
    /// Too few bytes are left: [`ErrorKind::TooLarge`].
    pub fn take(&self, n_bytes: usize) -> Result<(), ApiError> {
        match self.left.get().checked_sub(n_bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(ErrorKind::TooLarge.error(format!(
                "the request's values take more than {} bytes in memory, the most that one request may \
                 take here; divide it into smaller ones, or start the server with a higher --max-body",
                self.accepts.bytes
            ))),
        }
    }

    /// Takes the bytes of an empty column of this name.
    ///
    /// # Errors
    /// The name is too long, or too few bytes are left.
    pub fn column(&self, name: &str) -> Result<(), ApiError> {
        check_length("a column's name", name.as_bytes(), MAX_NAME)?;
        self.take(COLUMN + 2 * name.len())
    }

    /// Returns the maximum number of items that a list may have now.
    pub(super) fn max_items(&self) -> usize {
        self.left.get() / ITEM
    }

    /// Returns the parser's error for an exceeded bound, and keeps the original for [`Bounds::explained`].
    pub(super) fn stop<E: Error>(&self, refusal: ApiError) -> E {
        let what = refusal.message.clone();
        self.refused.borrow_mut().get_or_insert(refusal);
        E::custom(what)
    }

    /// Like [`Bounds::take`], in a parser.
    pub(super) fn spend<E: Error>(&self, n_bytes: usize) -> Result<(), E> {
        self.take(n_bytes).map_err(|refusal| self.stop(refusal))
    }

    /// Like [`Accepts::check_candidates`], in a parser.
    pub(super) fn count<E: Error>(&self, n: usize) -> Result<(), E> {
        let checked = self.accepts.check_candidates(n);
        checked.map_err(|refusal| self.stop(refusal))
    }

    /// Returns the error of a parser: an exceeded bound, or an invalid request.
    pub(super) fn explained(&self, body: &[u8], error: &serde_json::Error) -> ApiError {
        let at_bound = self.refused.borrow_mut().take();
        at_bound.unwrap_or_else(|| {
            ErrorKind::Invalid.error(format!("the request's body: {}", explained(body, error)))
        })
    }
}

/// Checks that a text has at most `most` bytes.
///
/// # Errors
/// It is longer; the message includes its beginning.
pub(super) fn check_length(what: &str, text: &[u8], most: usize) -> Result<(), ApiError> {
    if text.len() <= most {
        return Ok(());
    }
    let beginning = String::from_utf8_lossy(&text[..most]);
    Err(ErrorKind::Invalid.error(format!(
        "{what} has {} bytes, and {most} are the most: \"{}\"",
        text.len(),
        shown(&beginning)
    )))
}

/// Counts the memory of a column's values, which all become texts if one of them is a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ColumnWeight {
    is_text: bool,
    has_float: bool,
    has_long_int: bool,
    /// Bytes that the numbers so far would take as texts.
    as_texts: usize,
}

impl ColumnWeight {
    /// Takes the bytes of a row with this value.
    pub(super) fn row<E: Error>(
        &mut self,
        bounds: &Bounds<'_>,
        value: &Value<'_>,
    ) -> Result<(), E> {
        match value {
            Value::Null => bounds.spend(NUMBER),
            Value::List(items) => {
                bounds.spend(NUMBER)?;
                items.iter().try_for_each(|item| self.value(bounds, item))
            }
            value => self.value(bounds, value),
        }
    }

    /// Takes the bytes of a value.
    pub(super) fn value<E: Error>(
        &mut self,
        bounds: &Bounds<'_>,
        value: &Value<'_>,
    ) -> Result<(), E> {
        /// Whole numbers up to this one are exact as floating-point numbers.
        const EXACT: u64 = 1 << 53;
        let as_text = match value {
            Value::Int(x) => {
                self.has_long_int |= x.unsigned_abs() > EXACT;
                TEXT + 20
            }
            Value::Float(x) => {
                self.has_float = true;
                TEXT + text_length(*x)
            }
            Value::Text(text) => {
                self.become_text(bounds)?;
                TEXT + text.len()
            }
            Value::Null | Value::List(_) | Value::Events(_) => 0,
        };
        if self.has_float && self.has_long_int {
            self.become_text(bounds)?;
        }
        if self.is_text {
            return bounds.spend(as_text);
        }
        self.as_texts += as_text;
        bounds.spend(NUMBER)
    }

    fn become_text<E: Error>(&mut self, bounds: &Bounds<'_>) -> Result<(), E> {
        if std::mem::replace(&mut self.is_text, true) {
            Ok(())
        } else {
            bounds.spend(self.as_texts)
        }
    }
}

/// Returns the maximum number of characters of a number in decimal notation without an exponent.
fn text_length(x: f64) -> usize {
    let digits = x.abs().log10();
    if digits.is_finite() {
        24 + digits.abs() as usize
    } else {
        24
    }
}

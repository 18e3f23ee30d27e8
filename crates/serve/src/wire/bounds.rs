//! What a request may hold, counted while it is read: a few bytes on the wire can stand for many in
//! memory.

use super::Accepts;
use crate::api_error::{ApiError, Kind};
use crate::words::shown;
use ncs_features::json::{Cell as Value, explained};
use serde::de::Error;
use std::cell::{Cell, RefCell};

/// The most bytes of a name: of a column, a model, a label, an output, a user.
pub const MOST_NAME: usize = 1024;

/// The most bytes of a request's id, which goes into answers, logs and the score log.
pub const MOST_ID: usize = 200;

/// What a column costs besides its values.
const COLUMN: usize = 256;

/// What a number or a row of a column costs.
pub(super) const NUMBER: usize = 8;

/// What a text costs besides its bytes.
pub(super) const TEXT: usize = 4;

/// An item of a list while the list is being read.
const ITEM: usize = size_of::<Value<'static>>();

/// What is left of a request's allowance: its columns may take as many bytes in memory as its body may
/// have.
#[derive(Debug)]
pub struct Bounds<'a> {
    pub(super) accepts: &'a Accepts,
    left: Cell<usize>,
    /// Why reading stopped, where it did because of a bound.
    refused: RefCell<Option<ApiError>>,
}

impl<'a> Bounds<'a> {
    /// The whole allowance.
    pub fn new(accepts: &'a Accepts) -> Bounds<'a> {
        Bounds {
            accepts,
            left: Cell::new(accepts.bytes),
            refused: RefCell::new(None),
        }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// They are not left: [`Kind::TooLarge`].
    pub fn take(&self, n_bytes: usize) -> Result<(), ApiError> {
        match self.left.get().checked_sub(n_bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Kind::TooLarge.says(format!(
                "the request's values take more than {} bytes in memory, the most that one request may \
                 take here; divide it into smaller ones, or start the server with a higher --max-body",
                self.accepts.bytes
            ))),
        }
    }

    /// Takes what a column of this name costs before it has values.
    ///
    /// # Errors
    /// The name is too long, or too little is left.
    pub fn column(&self, name: &str) -> Result<(), ApiError> {
        check_length("a column's name", name.as_bytes(), MOST_NAME)?;
        self.take(COLUMN + 2 * name.len())
    }

    /// The most items that a list may have now.
    pub(super) fn most_items(&self) -> usize {
        self.left.get() / ITEM
    }

    /// What a parser is told of a refusal, which [`Bounds::refusal`] then gives.
    pub(super) fn stop<E: Error>(&self, refusal: ApiError) -> E {
        let what = refusal.what.clone();
        self.refused.borrow_mut().get_or_insert(refusal);
        E::custom(what)
    }

    /// As [`Bounds::take`], in a parser.
    pub(super) fn spend<E: Error>(&self, n_bytes: usize) -> Result<(), E> {
        self.take(n_bytes).map_err(|refusal| self.stop(refusal))
    }

    /// Refuses more candidates than a request may have, in a parser.
    pub(super) fn count<E: Error>(&self, n: usize) -> Result<(), E> {
        let checked = self.accepts.check_candidates(n);
        checked.map_err(|refusal| self.stop(refusal))
    }

    /// Why a parser stopped: at a bound, or at what is no request.
    pub(super) fn explained(&self, body: &[u8], error: &serde_json::Error) -> ApiError {
        let at_bound = self.refused.borrow_mut().take();
        at_bound.unwrap_or_else(|| {
            Kind::Invalid.says(format!("the request's body: {}", explained(body, error)))
        })
    }
}

/// Refuses a text that is longer than so many bytes.
///
/// # Errors
/// It is; the refusal repeats its beginning.
pub(super) fn check_length(what: &str, text: &[u8], most: usize) -> Result<(), ApiError> {
    if text.len() <= most {
        return Ok(());
    }
    let beginning = String::from_utf8_lossy(&text[..most]);
    Err(Kind::Invalid.says(format!(
        "{what} has {} bytes, and {most} are the most: \"{}\"",
        text.len(),
        shown(&beginning)
    )))
}

/// What the values of one column take, which become texts where one of them is a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ColumnWeight {
    is_text: bool,
    has_float: bool,
    has_long_int: bool,
    /// What the numbers so far would take as texts.
    as_texts: usize,
}

impl ColumnWeight {
    /// Takes what a row that holds this value costs.
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

    /// Takes what a value costs.
    pub(super) fn value<E: Error>(
        &mut self,
        bounds: &Bounds<'_>,
        value: &Value<'_>,
    ) -> Result<(), E> {
        /// Whole numbers up to here are floating-point numbers too.
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
            Value::Null | Value::List(_) => 0,
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
        match std::mem::replace(&mut self.is_text, true) {
            true => Ok(()),
            false => bounds.spend(self.as_texts),
        }
    }
}

/// The most characters of a number in decimal, which has no exponent.
fn text_length(x: f64) -> usize {
    let digits = x.abs().log10();
    match digits.is_finite() {
        true => 24 + digits.abs() as usize,
        false => 24,
    }
}

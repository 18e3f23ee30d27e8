//! Memory of an entry, and rejection of entries that a file cannot hold.

use ncs_features::time::Timestamp;
use ncs_features::{Block, Values};
use ncs_serve::score_log::Entry;
use ncs_serve::words::shown;

/// Maximum bytes of a request with its context repeated for each candidate. Dictionaries compress repeated
/// contexts only up to a limit.
const MAX_BYTES: usize = 1 << 30;

/// Maximum length of a text in a context, which is repeated for each of its candidates: longer texts do not fit
/// a dictionary.
const MAX_TEXT: usize = 64 << 10;

/// Returns the bytes that an entry takes while it is buffered.
///
/// Fails if the entry is too large to be written row by row, or a text is not UTF-8.
pub(super) fn check(entry: &Entry) -> Result<usize, String> {
    let question = &entry.question;
    let rejected = |reason: String| {
        let id = shown(&entry.request_id);
        format!("request \"{id}\" is not logged: {reason}")
    };
    let context = bytes(&question.context, MAX_TEXT).map_err(rejected)?;
    let candidates = bytes(&question.candidates, usize::MAX).map_err(rejected)?;
    let n_candidates = entry.n_candidates();
    let repeated = (context + entry.request_id.len()).saturating_mul(n_candidates) + candidates;
    if repeated > MAX_BYTES {
        return Err(rejected(format!(
            "its context of {context} bytes would be written for each of its {n_candidates} candidates; \
             send fewer candidates or a smaller context"
        )));
    }
    Ok(entry.n_bytes())
}

/// Returns the bytes of the values of a block.
fn bytes(block: &Block, max_text: usize) -> Result<usize, String> {
    let mut n_bytes = 0;
    for column in &block.columns {
        n_bytes += match &column.values {
            Values::Int(numbers) => numbers.len() * size_of::<i64>(),
            Values::Float(numbers) => numbers.len() * size_of::<f64>(),
            Values::Time(times) => times.len() * size_of::<Timestamp>(),
            Values::Text(texts) => {
                let mut n_bytes = texts.len() * size_of::<u32>();
                for i in 0..texts.len() {
                    let text = texts.get(i);
                    if std::str::from_utf8(text).is_err() {
                        return Err(format!(
                            "column \"{}\" holds a text that is not UTF-8, which the log cannot store; \
                             send UTF-8",
                            shown(&column.name)
                        ));
                    }
                    if text.len() > max_text {
                        return Err(format!(
                            "column \"{}\" of its context holds a text of {} bytes, which would be \
                             written for each of its candidates; the maximum is {max_text}",
                            shown(&column.name),
                            text.len()
                        ));
                    }
                    n_bytes += text.len();
                }
                n_bytes
            }
        };
    }
    Ok(n_bytes)
}

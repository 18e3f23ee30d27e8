//! What an entry takes in memory, and which entries a file cannot hold.

use ncs_features::time::Timestamp;
use ncs_features::{Block, Values};
use ncs_serve::score_log::Entry;
use ncs_serve::words::shown;

/// Bytes of a request when its context is written once for each candidate. The dictionaries of a file
/// make that small, but not without end.
const MOST_BYTES: usize = 1 << 30;

/// A text longer than this in a context, which is a value of each of its candidates: dictionaries do not
/// hold it.
const MOST_TEXT: usize = 64 << 10;

/// The bytes that an entry takes while it is held.
///
/// # Errors
/// It is too large to be written row by row, or a text is not UTF-8.
pub(super) fn check(entry: &Entry) -> Result<usize, String> {
    let question = &entry.question;
    let refused = |what: String| {
        let id = shown(&entry.request_id);
        format!("request \"{id}\" is not kept: {what}")
    };
    let context = bytes(&question.context, MOST_TEXT).map_err(refused)?;
    let candidates = bytes(&question.candidates, usize::MAX).map_err(refused)?;
    let n_candidates = entry.n_candidates();
    let spread = (context + entry.request_id.len()).saturating_mul(n_candidates) + candidates;
    if spread > MOST_BYTES {
        return Err(refused(format!(
            "its context of {context} bytes would be written for each of its {n_candidates} candidates; \
             send fewer candidates or a smaller context"
        )));
    }
    Ok(entry.n_bytes())
}

/// The bytes of its values.
fn bytes(block: &Block, most_text: usize) -> Result<usize, String> {
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
                            "column \"{}\" holds a text that is not UTF-8, which a file of texts cannot; \
                             send UTF-8",
                            shown(&column.name)
                        ));
                    }
                    if text.len() > most_text {
                        return Err(format!(
                            "column \"{}\" of its context holds a text of {} bytes, which would be \
                             written for each of its candidates; {most_text} are the most",
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

//! Events of a sequence in a column: how many a row holds.

use super::{FieldReader, items};
use crate::block::Values;
use crate::canonical::ValueRule;
use crate::list_text;
use crate::schema::Pooling;

impl FieldReader<'_> {
    /// Returns the name of the column.
    pub(crate) fn column_name(&self) -> &str {
        &self.column.name
    }

    /// Returns the number of events that a row holds, missing values among them.
    pub(crate) fn n_events(&self, row: usize) -> usize {
        let range = self.column.range(row);
        let Values::Text(texts) = &self.column.values else {
            return range.len();
        };
        let may_be_written = self.rule == ValueRule::Canonical && self.may_be_written(row);
        let events = range.map(|i| {
            let text = texts.get(i);
            if text.is_empty() && self.column.offsets.is_some() {
                return 1;
            }
            let written = if may_be_written {
                list_text::items_of(text)
            } else {
                None
            };
            written.map_or_else(
                || items(text, self.separator.as_deref()).count(),
                |written| written.len(),
            )
        });
        events.sum()
    }

    /// Returns true if a text of the row may be a whole list. The log of a server holds such a text of events as a list
    /// of one text.
    pub(super) fn may_be_written(&self, row: usize) -> bool {
        let is_events = self.field.pooling.and_then(Pooling::attribute).is_some();
        self.column.offsets.is_none() || is_events && self.column.range(row).len() == 1
    }
}

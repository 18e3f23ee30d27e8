//! Errors in rows.

/// A row that cannot be encoded, or a column that is absent.
///
/// `row` counts from 1 and is a row of the block, until [`EncodeError::after`] moves it to a row of
/// the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The block lacks a column.
    #[error("no column \"{column}\", which {wanted_by} reads; the rows have {present}")]
    MissingColumn {
        /// The absent column.
        column: String,
        /// The field, task or the like that reads it.
        wanted_by: String,
        /// The columns that are there.
        present: String,
    },
    /// A text in a numeric column.
    #[error(
        "column \"{column}\", row {row}: text where a number belongs: \"{found}\"; {}",
        instead_of_text(found)
    )]
    NotANumber {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The text.
        found: String,
    },
    /// An infinite number.
    #[error(
        "column \"{column}\", row {row}: {found} where a finite number belongs; write null for an \
         unknown value, or name it in the field's `missing`"
    )]
    NotFinite {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The value.
        found: String,
    },
    /// Bytes that are no text.
    #[error(
        "column \"{column}\", row {row}: \"{found}\" is not UTF-8; for a CSV file in another encoding \
         state it, such as encoding = \"latin-1\" in [data], or write the column as text"
    )]
    NotUtf8 {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The text, what is not UTF-8 replaced.
        found: String,
    },
    /// Dates or instants for a model that was trained on the numbers in which its files held them.
    #[error(
        "column \"{column}\" holds dates or times, and this model was trained by a version that read \
         them as plain numbers of the file's unit; train it again"
    )]
    OldTimes {
        /// The column.
        column: String,
    },
    /// A label outside its task's range.
    #[error(
        "column \"{column}\", row {row}: the label of task \"{task}\" is {found}; it must be \
         {wanted}, or null where it is unknown"
    )]
    Label {
        /// The label's column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The task.
        task: String,
        /// The value.
        found: String,
        /// Values that the task accepts.
        wanted: &'static str,
    },
    /// A number of a row, beside its label, that its task cannot use.
    #[error(
        "column \"{column}\", row {row}: the {} of task \"{task}\" is {found}; it must be {}", term.name(),
        term.wanted()
    )]
    Term {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// What the number is.
        term: RowTerm,
        /// The task.
        task: String,
        /// The value.
        found: String,
    },
    /// Several values in one row of a single-valued column.
    #[error(
        "column \"{column}\", row {row}: {n} values where one belongs; {}",
        instead_of_many(*fractions)
    )]
    ManyValues {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// Number of values.
        n: usize,
        /// True if the values are numbers with fractions, which cannot be ids.
        fractions: bool,
    },
    /// A time of another kind than the moment that it is compared with.
    #[error("column \"{column}\", row {row}: {what}")]
    NotComparable {
        /// The time column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The value, the moment, and what to do.
        what: String,
    },
    /// Something else than a moment where a feature reads moments.
    #[error(
        "column \"{column}\", row {row}: \"{found}\" is not a time; write dates and times in ISO 8601 \
         (2026-11-29T08:30:00Z) or as numbers since 1970, or name it in the feature's `missing`"
    )]
    NotATime {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The value.
        found: String,
    },
    /// Weights of a list's values that cannot be used.
    #[error("column \"{column}\", row {row}: {what}")]
    Weights {
        /// The column of the weights.
        column: String,
        /// The row, from 1.
        row: u64,
        /// The reason, and the remedy.
        what: String,
    },
    /// A vector of another length than the others.
    #[error(
        "column \"{column}\", row {row}: a vector of {n} numbers, where length = {length} is stated; write null where a \
         vector is unknown"
    )]
    VectorLength {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// Its length.
        n: usize,
        /// The length that its feature states.
        length: usize,
    },
    /// A vector with a number that is missing or not finite.
    #[error(
        "column \"{column}\", row {row}: number {place} of the vector is {found}, where a finite number of single \
         precision belongs; write null for the whole vector where it is unknown"
    )]
    NoVector {
        /// The column.
        column: String,
        /// The row, from 1.
        row: u64,
        /// Its place in the vector, from 1.
        place: usize,
        /// The value.
        found: String,
    },
    /// Parallel lists of different lengths.
    #[error(
        "columns \"{column}\" and \"{other}\", row {row}: {n} and {n_other} values, where both are about the same events; \
         write one value of each for every event, an empty text (in a list of numbers NaN) where it is unknown: a null in \
         a list is left out"
    )]
    EventCounts {
        /// The column of the first attribute.
        column: String,
        /// The row, from 1.
        row: u64,
        /// Its number of values.
        n: usize,
        /// The column of the other attribute.
        other: String,
        /// Its number of values.
        n_other: usize,
    },
    /// A list of numbers that are not cut into buckets.
    #[error(
        "feature \"{field}\" is a list of numbers: lists can be pooled by quantile buckets, by a \
         hash or by a vocabulary, not standardised or by logarithm"
    )]
    ScaledList {
        /// The field.
        field: String,
    },
}

/// What a number of a row is, beside its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTerm {
    /// Weight in loss and metrics.
    Weight,
    /// Share of rows of label 0 that was kept.
    NegativeRate,
    /// Time of the click.
    ClickTime,
    /// Time of the conversion.
    ConversionTime,
}

impl RowTerm {
    /// Returns its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            RowTerm::Weight => "weight",
            RowTerm::NegativeRate => "negative rate",
            RowTerm::ClickTime => "click time",
            RowTerm::ConversionTime => "conversion time",
        }
    }

    /// Returns what values it may have.
    pub fn wanted(self) -> &'static str {
        match self {
            RowTerm::Weight => "a finite number, at least 0",
            RowTerm::NegativeRate => "above 0 and at most 1",
            RowTerm::ClickTime => "a time, or a number of seconds",
            RowTerm::ConversionTime => "a time, or a number of seconds, at the click's or later",
        }
    }
}

const NO_VECTORS: &str = "a list of numbers is read as a vector by kind = \"vector\", with its length, and the separator \
                          where it is a text";

/// Returns true if a comma separates digits of one number: `1,50`, `1.234,5`, `1,000,000`, `1,234.5`.
fn has_comma(found: &str) -> bool {
    let digits = found.trim_start_matches(['-', '+']);
    let is_digits = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let mut parts = digits.split(',');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_group = |part: &&str| part.split('.').next().is_some_and(|whole| whole.len() == 3);
    let is_one = match rest.as_slice() {
        [] => false,
        [second] => !(first.contains('.') && second.contains('.')),
        groups => groups.iter().all(is_group),
    };
    is_one
        && !first.is_empty()
        && is_digits(first)
        && rest.iter().all(|part| !part.is_empty() && is_digits(part))
}

fn instead_of_text(found: &str) -> &'static str {
    if has_comma(found) {
        return NO_COMMAS;
    }
    let is_between = |c: char| " ,;|[](){}\t".contains(c);
    let mut numbers = found.split(is_between).filter(|word| !word.is_empty());
    // The last may have been cut.
    let is_number = |word: &str| word.parse::<f64>().is_ok() || word.ends_with("...");
    if numbers.clone().count() > 1 && numbers.all(is_number) {
        NO_VECTORS
    } else {
        "name it in the field's `missing`, or read the column as a category"
    }
}

const NO_COMMAS: &str = "a number has a point before its decimals and nothing between its thousands, such as \
                         1234.5: write the column so, or read it as a category";

fn instead_of_many(fractions: bool) -> &'static str {
    if fractions {
        NO_VECTORS
    } else {
        "a feature that is a list needs kind = \"list\""
    }
}

impl EncodeError {
    /// Returns the same error where the block's first row comes after `rows` rows of the file.
    pub fn after(self, rows: u64) -> EncodeError {
        self.at(|row| row + rows)
    }

    /// Returns the same error where row `row` of the block is row `place(row)` of something else.
    pub fn at(mut self, place: impl FnOnce(u64) -> u64) -> EncodeError {
        match &mut self {
            EncodeError::NotANumber { row, .. }
            | EncodeError::NotFinite { row, .. }
            | EncodeError::NotUtf8 { row, .. }
            | EncodeError::NotATime { row, .. }
            | EncodeError::Weights { row, .. }
            | EncodeError::VectorLength { row, .. }
            | EncodeError::NoVector { row, .. }
            | EncodeError::EventCounts { row, .. }
            | EncodeError::Label { row, .. }
            | EncodeError::Term { row, .. }
            | EncodeError::NotComparable { row, .. }
            | EncodeError::ManyValues { row, .. } => *row = place(*row),
            EncodeError::MissingColumn { .. }
            | EncodeError::OldTimes { .. }
            | EncodeError::ScaledList { .. } => {}
        }
        self
    }
}

/// The rows do not suffice to fit a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Vocabularies and scales need rows.
    #[error(
        "no training rows to fit {tables} to; look at the files of the training part and at the split"
    )]
    NoRows {
        /// The tables that need rows.
        tables: String,
    },
    /// No mature row has converted.
    #[error(
        "task \"{task}\": no training row that is a whole attribution window old at as_of has converted, so nothing says \
         how late conversions are; train on more days, or choose another method than \"delay_distribution\""
    )]
    NoDelays {
        /// The task.
        task: String,
    },
    /// The rows do not reach back far enough for the samples of a stream.
    #[error(
        "task \"{task}\": late.method learns from the conversions that arrive, and in the place of those still to come it \
         takes those of the window before; for this, training rows must reach back {days} days before as_of. Train on \
         more days, or choose another method, such as \"delay_distribution\""
    )]
    ShortLog {
        /// The task.
        task: String,
        /// How many days back the rows must reach, as text.
        days: String,
    },
    /// Every row of a numeric column is missing.
    #[error(
        "no training row has a value for \"{table}\", which is numeric; leave the feature out, or \
         look at its column and its `missing`"
    )]
    NoNumbers {
        /// The table.
        table: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_told_from_other_texts() {
        let check = |found, is_vector| {
            assert_eq!(instead_of_text(found) == NO_VECTORS, is_vector, "{found}");
        };
        check("[0.1, -2e-3, 4]", true);
        check("0.1 0.25 1", true);
        check("0.1|0.25|0.12...", true);
        check("0.1,0.25", true);
        check("1,2,3", true);
        check("dear", false);
        check("12 pieces", false);
        check("1,5 or so", false);
        check("[]", false);
    }

    #[test]
    fn a_comma_in_a_number_is_told() {
        let check = |found, has_one| assert_eq!(has_comma(found), has_one, "{found}");
        for found in [
            "1,50",
            "-0,5",
            "1,000",
            "1,234,567",
            "1,234.5",
            "1.234,56",
            "1,234,567.89",
        ] {
            check(found, true);
        }
        for found in [
            "1.5", "12", "", ",", "1,", ",5", "a,b", "1,2,3", "0.1,0.2", "1, 2", "x1,5",
        ] {
            check(found, false);
        }
    }
}

//! Decoded values of a column chunk that were not returned yet, so that a block can end at its size limit,
//! for rows of any width.

use crate::columns::{BLOCK_BYTES, LONGEST_LIST};
use ::parquet::basic::Type as Physical;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::column::reader::{ColumnReader as Decoder, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::*;
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::ColumnDescPtr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows of the first step, and what a step may add once it is known how wide rows are.
const FIRST_STEP: usize = 32;
const STEP_BYTES: usize = 1 << 20;
/// Values of the pages that one step may begin. A page that goes beyond it is read to its end.
const STEP_VALUES: usize = 1 << 18;

/// The reader of a column chunk, by its physical type.
pub(super) enum ColumnReader {
    Bool(Pending<BoolType>),
    Int32(Pending<Int32Type>),
    Int64(Pending<Int64Type>),
    Int96(Pending<Int96Type>),
    Float(Pending<FloatType>),
    Double(Pending<DoubleType>),
    ByteArray(Pending<ByteArrayType>),
    FixedLenByteArray(Pending<FixedLenByteArrayType>),
}

/// Calls a method of whatever [`Pending`] it is.
macro_rules! each {
    ($reader:expr, $pending:ident => $call:expr) => {
        match $reader {
            ColumnReader::Bool($pending) => $call,
            ColumnReader::Int32($pending) => $call,
            ColumnReader::Int64($pending) => $call,
            ColumnReader::Int96($pending) => $call,
            ColumnReader::Float($pending) => $call,
            ColumnReader::Double($pending) => $call,
            ColumnReader::ByteArray($pending) => $call,
            ColumnReader::FixedLenByteArray($pending) => $call,
        }
    };
}

impl ColumnReader {
    /// Creates a reader of the pages of a column chunk.
    pub(super) fn new(leaf: ColumnDescPtr, pages: Box<dyn PageReader>) -> ColumnReader {
        let budget = Budget::default();
        let pages = Box::new(Metered {
            pages,
            budget: budget.clone(),
        });
        let decoder = get_column_reader(leaf.clone(), pages);
        match decoder {
            Decoder::BoolColumnReader(reader) => {
                ColumnReader::Bool(Pending::new(reader, budget, &leaf))
            }
            Decoder::Int32ColumnReader(reader) => {
                ColumnReader::Int32(Pending::new(reader, budget, &leaf))
            }
            Decoder::Int64ColumnReader(reader) => {
                ColumnReader::Int64(Pending::new(reader, budget, &leaf))
            }
            Decoder::Int96ColumnReader(reader) => {
                ColumnReader::Int96(Pending::new(reader, budget, &leaf))
            }
            Decoder::FloatColumnReader(reader) => {
                ColumnReader::Float(Pending::new(reader, budget, &leaf))
            }
            Decoder::DoubleColumnReader(reader) => {
                ColumnReader::Double(Pending::new(reader, budget, &leaf))
            }
            Decoder::ByteArrayColumnReader(reader) => {
                ColumnReader::ByteArray(Pending::new(reader, budget, &leaf))
            }
            Decoder::FixedLenByteArrayColumnReader(reader) => {
                ColumnReader::FixedLenByteArray(Pending::new(reader, budget, &leaf))
            }
        }
    }

    /// Decodes until `n_rows` rows are ready or they hold `n_bytes`; returns how many are ready, 0 only
    /// at the end of the chunk.
    pub(super) fn fill(&mut self, n_rows: usize, n_bytes: usize) -> Result<usize, ParquetError> {
        each!(self, pending => pending.fill(n_rows, n_bytes))
    }

    /// Adds to `sizes` the bytes of the first rows that are ready; a list that is too long counts as
    /// more than any row may hold.
    pub(super) fn add_sizes(&self, sizes: &mut [usize]) {
        each!(self, pending => pending.add_sizes(sizes));
    }

    /// Leaves out the next row.
    pub(super) fn skip_row(&mut self) -> Result<(), ParquetError> {
        each!(self, pending => pending.take(1).map(drop))
    }
}

/// The rows of one column chunk that are decoded and not yet taken.
pub(super) struct Pending<T: DataType> {
    reader: ColumnReaderImpl<T>,
    budget: Budget,
    is_repeated: bool,
    /// The definition level of a value; 0 where all rows have one.
    max_defined: i16,
    rows: Taken<T>,
    /// Number of complete rows in `rows`, which may end with a part of another row.
    n_ready: usize,
    /// Number of rows to request next.
    step: usize,
}

/// Rows of a column: values without nulls, definition levels, repetition levels.
pub(super) struct Taken<T: DataType> {
    pub(super) values: Vec<T::T>,
    pub(super) defined: Vec<i16>,
    pub(super) repeated: Vec<i16>,
}

impl<T: DataType> Taken<T> {
    fn empty() -> Taken<T> {
        Taken {
            values: Vec::new(),
            defined: Vec::new(),
            repeated: Vec::new(),
        }
    }
}

impl<T: DataType> Pending<T> {
    fn new(reader: ColumnReaderImpl<T>, budget: Budget, leaf: &ColumnDescPtr) -> Pending<T> {
        Pending {
            reader,
            budget,
            is_repeated: leaf.max_rep_level() > 0,
            max_defined: leaf.max_def_level(),
            rows: Taken::empty(),
            n_ready: 0,
            step: FIRST_STEP,
        }
    }

    fn fill(&mut self, n_rows: usize, n_bytes: usize) -> Result<usize, ParquetError> {
        let mut held = size_of(&self.rows.values) + 4 * self.rows.repeated.len();
        while self.n_ready < n_rows && (held < n_bytes || self.n_ready == 0) {
            let wanted = self.step.min(n_rows - self.n_ready);
            let (values_before, rows_before) = (self.rows.values.len(), self.n_ready);
            self.budget.renew();
            let (rows, _, levels) = self.reader.read_records(
                wanted,
                Some(&mut self.rows.defined),
                Some(&mut self.rows.repeated),
                &mut self.rows.values,
            )?;
            if levels == 0 {
                break;
            }
            self.n_ready = rows_before + rows;
            let added = size_of(&self.rows.values[values_before..]) + 4 * levels;
            held += added;
            self.step = next_step(wanted, added);
            self.cut_row_without_end();
        }
        Ok(self.n_ready)
    }

    /// Keeps no more of a list that is too long than shows that it is.
    fn cut_row_without_end(&mut self) {
        let most = LONGEST_LIST + 2;
        if self.n_ready > 0 || self.rows.repeated.len() <= most {
            return;
        }
        self.rows.repeated.truncate(most);
        self.rows.defined.truncate(most);
        let n_values = self.n_values(most);
        self.rows.values.truncate(n_values);
    }

    /// Values of the first `n_levels` levels.
    fn n_values(&self, n_levels: usize) -> usize {
        match self.max_defined {
            0 => n_levels,
            most => {
                let levels = self.rows.defined[..n_levels].iter();
                levels.filter(|&&level| level == most).count()
            }
        }
    }

    fn add_sizes(&self, sizes: &mut [usize]) {
        if self.is_repeated {
            return self.add_list_sizes(sizes);
        }
        if is_narrow::<T>() {
            return sizes
                .iter_mut()
                .for_each(|size| *size = size.saturating_add(VALUE_BYTES));
        }
        let mut values = self.rows.values.iter();
        for (row, size) in sizes.iter_mut().enumerate() {
            let is_value = self.max_defined == 0 || self.rows.defined[row] == self.max_defined;
            let value = is_value.then(|| values.next()).flatten();
            let n_bytes = value.map_or(0, |value| value.as_bytes().len());
            *size = size.saturating_add(VALUE_BYTES + n_bytes);
        }
    }

    fn add_list_sizes(&self, sizes: &mut [usize]) {
        let mut values = self.rows.values.iter();
        let mut rows = sizes.iter_mut();
        let mut row = None;
        let mut n_items = 0;
        for (level, &repeated) in self.rows.repeated.iter().enumerate() {
            if repeated == 0 {
                row = rows.next();
                n_items = 0;
            }
            let Some(size) = row.as_deref_mut() else {
                return;
            };
            n_items += 1;
            let is_value = self.max_defined == 0 || self.rows.defined[level] == self.max_defined;
            let value = is_value.then(|| values.next()).flatten();
            let n_bytes = if is_narrow::<T>() {
                0
            } else {
                value.map_or(0, |value| value.as_bytes().len())
            };
            *size = if n_items > LONGEST_LIST {
                usize::MAX
            } else {
                size.saturating_add(VALUE_BYTES + n_bytes)
            };
        }
    }

    /// Returns the next `n_rows` rows, which must be ready.
    ///
    /// # Errors
    /// They are not ready: the chunk holds fewer rows than its group states.
    pub(super) fn take(&mut self, n_rows: usize) -> Result<Taken<T>, ParquetError> {
        if n_rows > self.n_ready {
            return Err(too_few(self.n_ready, n_rows));
        }
        let n_levels = if self.is_repeated {
            let levels = self.rows.repeated.iter().enumerate();
            let mut starts = levels.filter(|(_, level)| **level == 0);
            let end = starts.nth(n_rows).map(|(level, _)| level);
            end.unwrap_or(self.rows.repeated.len())
        } else {
            n_rows
        };
        self.n_ready -= n_rows;
        let n_values = self.n_values(n_levels);
        if n_values == self.rows.values.len() && self.n_ready == 0 && !self.is_repeated {
            return Ok(std::mem::replace(&mut self.rows, Taken::empty()));
        }
        Ok(Taken {
            values: self.rows.values.drain(..n_values).collect(),
            defined: first(&mut self.rows.defined, n_levels),
            repeated: first(&mut self.rows.repeated, n_levels),
        })
    }
}

/// Bytes per value besides its content: a number, or the end offset of a text.
const VALUE_BYTES: usize = 8;

/// Returns the first `n` levels; empty if the column has none.
fn first(levels: &mut Vec<i16>, n: usize) -> Vec<i16> {
    let n = n.min(levels.len());
    levels.drain(..n).collect()
}

fn is_narrow<T: DataType>() -> bool {
    !matches!(
        T::get_physical_type(),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY
    )
}

fn size_of<T: AsBytes>(values: &[T]) -> usize {
    let bytes = values.iter().map(|value| value.as_bytes().len());
    bytes.sum::<usize>() + VALUE_BYTES * values.len()
}

/// Returns twice the number of rows, as long as they are narrow.
fn next_step(rows: usize, n_bytes: usize) -> usize {
    let fitting = STEP_BYTES.saturating_mul(rows) / n_bytes.max(1);
    fitting.clamp(1, 2 * rows.max(1))
}

pub(super) fn too_few(found: usize, wanted: usize) -> ParquetError {
    ParquetError::General(format!("{found} values where {wanted} belong"))
}

/// Maximum number of values in the pages that a step begins.
#[derive(Clone, Default)]
struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn renew(&self) {
        self.0.store(STEP_VALUES, Ordering::Relaxed);
    }
}

/// Pages that seem to end where the budget is used up, and go on when it is renewed: rows of a list
/// may go on from page to page, and the decoder would read all of them.
struct Metered {
    pages: Box<dyn PageReader>,
    budget: Budget,
}

impl PageReader for Metered {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        loop {
            let left = self.budget.0.load(Ordering::Relaxed);
            if left == 0 {
                return Ok(None);
            }
            let Some(page) = self.pages.get_next_page()? else {
                return Ok(None);
            };
            let n_values = page.num_values() as usize;
            if !page.is_data_page() {
                return Ok(Some(page));
            }
            // The decoder takes a page without values for the end.
            if n_values > 0 {
                let left = left.saturating_sub(n_values);
                self.budget.0.store(left, Ordering::Relaxed);
                return plausible(page).map(Some);
            }
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Metered {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Refuses pages over which the decoder would panic.
fn plausible(page: Page) -> Result<Page, ParquetError> {
    let levels_and_bytes = match &page {
        Page::DataPageV2 {
            buf,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => Some((
            u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len),
            buf.len() as u64,
        )),
        _ => None,
    };
    match levels_and_bytes {
        Some((levels, bytes)) if levels > bytes => Err(ParquetError::General(format!(
            "a page of {bytes} bytes claims {levels} bytes of levels"
        ))),
        _ => Ok(page),
    }
}

const _: () = assert!(STEP_BYTES <= BLOCK_BYTES);

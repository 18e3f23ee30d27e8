//! A record's fields.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// The fields of one record.
pub(super) struct Fields {
    delimiter: u8,
    reader: Reader,
    text: Vec<u8>,
    /// End of each field in `text`.
    ends: Vec<usize>,
    n: usize,
}

impl Fields {
    pub(super) fn new(delimiter: u8) -> Fields {
        Fields {
            delimiter,
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            text: Vec::new(),
            ends: Vec::new(),
            n: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }

    pub(super) fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.n).map(|i| self.get(i))
    }

    /// Takes a whole record apart.
    pub(super) fn split(&mut self, record: &[u8]) {
        match memchr::memchr(b'"', record) {
            None => self.split_plain(record),
            Some(_) => self.split_quoted(record),
        }
    }

    fn split_plain(&mut self, record: &[u8]) {
        self.text.clear();
        self.ends.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(self.delimiter, record) {
            self.text.extend_from_slice(&record[start..end]);
            self.ends.push(self.text.len());
            start = end + 1;
        }
        self.text.extend_from_slice(&record[start..]);
        self.ends.push(self.text.len());
        self.n = self.ends.len();
    }

    fn split_quoted(&mut self, record: &[u8]) {
        self.reader.reset();
        self.n = 0;
        self.text.resize(record.len(), 0);
        self.ends
            .resize(memchr::memchr_iter(self.delimiter, record).count() + 1, 0);
        let (mut input, mut n_text) = (record, 0);
        loop {
            let (result, n_in, n_out, n_ends) =
                self.reader
                    .read_record(input, &mut self.text[n_text..], &mut self.ends[self.n..]);
            input = &input[n_in..];
            n_text += n_out;
            self.n += n_ends;
            match result {
                // The end of the input ends the record.
                ReadRecordResult::InputEmpty => input = &[],
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len() + 8, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len() + 8, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_plain_records_have_the_same_fields() {
        let check = |record: &str, expected: &[&str]| {
            let mut fields = Fields::new(b',');
            // Earlier contents do not matter.
            fields.split(b"\"x\",y");
            fields.split(record.as_bytes());
            let found: Vec<&str> = fields
                .iter()
                .map(|field| std::str::from_utf8(field).unwrap())
                .collect();
            assert_eq!(found, expected, "{record}");
        };
        check("a,b", &["a", "b"]);
        check("a", &["a"]);
        check(",", &["", ""]);
        check("\"a,b\",\"c\"\"d\"", &["a,b", "c\"d"]);
        check("\"a\nb\",\"\"", &["a\nb", ""]);
        check("5\" disk,\"a\"b", &["5\" disk", "ab"]);
    }
}

//! Kinds of bytes that no reader here reads, known by how they begin.

use ncs_features::record_bytes::is_start;

/// Returns the kind of a file by its first bytes, with advice; `None` if the file may be readable.
pub(crate) fn unread(start: &[u8]) -> Option<&'static str> {
    let is = |magic: &[u8]| start.starts_with(magic);
    Some(match start {
        // A TFRecord begins with a number, which may look like anything; its checksum identifies it.
        _ if is_start(start) => return None,
        _ if is_bzip2(start) => "it is compressed by bzip2; use gzip or zstd instead",
        _ if is(b"\xFD7zXZ\0") => "it is compressed by xz; use gzip or zstd instead",
        _ if is(b"]\0\0") => "it is compressed by LZMA; use gzip or zstd instead",
        _ if is(b"PK\x03\x04") || is(b"PK\x05\x06") || is(b"PK\x07\x08") => {
            "it is a ZIP archive (as spreadsheets are too); take the files out of it, or use gzip or \
             zstd instead"
        }
        _ if is(b"7z\xBC\xAF\x27\x1C") => "it is a 7z archive; use gzip or zstd instead",
        _ if is(b"Rar!\x1A\x07") => "it is a RAR archive; use gzip or zstd instead",
        _ if is(b"\x04\x22\x4D\x18") => "it is compressed by lz4; use gzip or zstd instead",
        _ if is(b"\xFF\x06\0\0sNaPpY") => "it is compressed by snappy; use gzip or zstd instead",
        _ if is(b"\x1F\x9D") => "it is compressed by compress (.Z); use gzip or zstd instead",
        _ if is(b"LZIP\x01") => "it is compressed by lzip; use gzip or zstd instead",
        _ if start.get(257..262) == Some(b"ustar") => {
            "it is a tar archive; take the files out of it"
        }
        _ if is(b"FEA1") => {
            "it is a Feather file of version 1; write it as version 2, or as Parquet"
        }
        _ if is(b"Obj\x01") => "it is an Avro file; write it as Parquet",
        [b'O', b'R', b'C', next, ..] if !(b' '..=b'~').contains(next) => {
            "it is an ORC file; write it as Parquet"
        }
        _ if is(b"PARE") => "it is an encrypted Parquet file; write it without encryption",
        _ if is(b"\x89HDF\r\n\x1A\n") => "it is an HDF5 file; write it as Parquet",
        _ if is(b"SQLite format 3\0") => "it is an SQLite database; export it as Parquet or CSV",
        _ if is(b"\xD0\xCF\x11\xE0") => "it is an Excel workbook; save it as CSV in UTF-8",
        _ if is(b"%PDF-") => "it is a PDF document",
        _ => return None,
    })
}

/// Returns true for the beginning of a bzip2 file: its level, then the first block or the end.
fn is_bzip2(start: &[u8]) -> bool {
    let Some([level, block @ ..]) = start.strip_prefix(b"BZh") else {
        return false;
    };
    let is_block = block.starts_with(b"1AY&SY") || block.starts_with(b"\x17\x72\x45\x38\x50\x90");
    (b'1'..=b'9').contains(level) && is_block
}

/// Returns the kind of a file that should hold text, like `unread`: encodings of several bytes per character,
/// and formats of rows.
pub(crate) fn unread_text(start: &[u8]) -> Option<&'static str> {
    let share_of_zeros = zeros(start);
    let is = |magic: &[u8]| start.starts_with(magic);
    Some(match start {
        _ if is_start(start) => {
            "it is a TFRecord file; set format to \"tfrecord\", or name it .tfrecord"
        }
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => UTF_32,
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => UTF_16,
        _ if share_of_zeros > 0.55 => UTF_32,
        _ if share_of_zeros > 0.2 => UTF_16,
        _ if is(b"ARROW1\0\0") => {
            "it is an Arrow file; set format to \"arrow\", or name it .arrow or .feather"
        }
        [b'P', b'A', b'R', b'1', next, ..] if !(b' '..=b'~').contains(next) => {
            "it is a Parquet file; set format to \"parquet\", or name it .parquet"
        }
        _ => return None,
    })
}

/// Returns the share of zeros among the first bytes if they are placed as in UTF-16 or UTF-32, in which an
/// ASCII character is its byte and one or three zeros; 0 otherwise.
fn zeros(start: &[u8]) -> f64 {
    const LOOKED_AT: usize = 4096;
    let start = &start[..start.len().min(LOOKED_AT)];
    let mut counts = [0usize; 4];
    for (place, _) in start.iter().enumerate().filter(|(_, byte)| **byte == 0) {
        counts[place % 4] += 1;
    }
    let [first, second, third, fourth] = counts;
    let all = first + second + third + fourth;
    let by_parity = (first + third).max(second + fourth);
    let is_utf_16 = by_parity * 10 >= all * 9;
    let is_utf_32 = all * 20 > start.len() * 11;
    if is_utf_16 || is_utf_32 {
        all as f64 / start.len().max(1) as f64
    } else {
        0.0
    }
}

const UTF_16: &str = "its text is UTF-16; write it as UTF-8";
const UTF_32: &str = "its text is UTF-32; write it as UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_known_by_its_first_bytes() {
        let check = |start: &[u8], expected: &str| {
            let found = unread(start).or_else(|| unread_text(start));
            let found = found.unwrap_or_default();
            assert!(found.contains(expected), "{start:?}: {found}");
        };
        check(b"BZh91AY&SY\x01\x02", "bzip2");
        check(b"\xFD7zXZ\0\0\x04", "xz");
        check(b"PK\x03\x04\x14\0", "ZIP");
        check(b"\xFF\xFEu\0s\0", "UTF-16");
        check(b"\xFE\xFF\0u\0s", "UTF-16");
        check(b"u\0s\0e\0r\0", "UTF-16");
        check(b"\0u\0s\0e\0r", "UTF-16");
        check(b"\xFF\xFE\0\0u\0\0\0", "UTF-32");
        check(b"\0\0\xFE\xFF\0\0\0u", "UTF-32");
        check(b"u\0\0\0s\0\0\0", "UTF-32");
        check(b"\0\0\0u\0\0\0s", "UTF-32");
        check(b"PAR1\x15\x04\x15", "Parquet");
    }

    #[test]
    fn texts_are_read() {
        for text in [
            "BZh9,PK,Rar!",
            "PK,ORC",
            "ORC,x",
            "PAR1,x",
            "x^2,y",
            "\u{FEFF}user",
            "{}",
            "",
        ] {
            let start = text.as_bytes();
            assert_eq!(unread(start).or_else(|| unread_text(start)), None, "{text}");
        }
    }
}

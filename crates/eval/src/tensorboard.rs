//! TensorBoard event files: scalars by tag and step, in the record framing of TFRecord files.
//!
//! Only two small messages of TensorFlow's `event.proto` and `summary.proto` are written, and only the step is
//! read back, so their dozen fields are encoded here by hand.

use ncs_features::record_bytes::{push_bytes, push_varint, write_record};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Writer of one event file. Each training and each resumption gets a file of its own; TensorBoard reads all
/// files of a folder in the order of their names, and calls the folder a run.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
    path: PathBuf,
    /// Start mode, until the first event gives the time for the file's header.
    pending_start: Option<Start>,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    New,
    Resumed { step: u64 },
}

impl EventWriter {
    /// Starts a new event file in `folder`, which is created if missing.
    ///
    /// # Errors
    /// Fails if the folder or file cannot be created.
    pub fn create(folder: &Path) -> io::Result<EventWriter> {
        EventWriter::open(folder, Start::New)
    }

    /// Starts a further event file for a training that resumes after `step`. Events of later steps are removed
    /// from earlier files, since these steps are repeated; a mark makes a TensorBoard that has read them
    /// already drop them.
    ///
    /// # Errors
    /// Fails if the folder or a file cannot be created, read or truncated.
    pub fn resume(folder: &Path, step: u64) -> io::Result<EventWriter> {
        let files = event_files(folder)?;
        if files.is_empty() {
            return EventWriter::create(folder);
        }
        for file in files {
            truncate_after(&file, step)?;
        }
        EventWriter::open(folder, Start::Resumed { step: step + 1 })
    }

    fn open(folder: &Path, start: Start) -> io::Result<EventWriter> {
        fs::create_dir_all(folder)?;
        let mut number = 0;
        loop {
            let path = folder.join(format!("events.out.tfevents.{number:010}.ncs"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let file = BufWriter::new(file);
                    return Ok(EventWriter {
                        file,
                        path,
                        pending_start: Some(start),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the path of the file being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one point to the curve `tag`. `wall_time` is in seconds since 1970.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64, wall_time: f64) -> io::Result<()> {
        self.start(wall_time)?;
        let mut event = event(wall_time, step);
        push_bytes(&mut event, SUMMARY.into(), &summary(tag, value as f32));
        write_record(&mut self.file, &event)
    }

    /// Flushes all buffered bytes to the operating system.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Writes the header, and the mark of a resumption, before the first event.
    fn start(&mut self, wall_time: f64) -> io::Result<()> {
        let Some(start) = self.pending_start.take() else {
            return Ok(());
        };
        let mut header = event(wall_time, 0);
        push_bytes(&mut header, FILE_VERSION.into(), b"brain.Event:2");
        write_record(&mut self.file, &header)?;
        let Start::Resumed { step } = start else {
            return Ok(());
        };
        let mut session_start = Vec::new();
        put_integer(&mut session_start, SESSION_STATUS, SESSION_STARTED);
        let mut mark = event(wall_time, step);
        push_bytes(&mut mark, SESSION_LOG.into(), &session_start);
        write_record(&mut self.file, &mark)
    }
}

/// Returns the event files of a folder; none if it is missing.
fn event_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("events.out.tfevents.") && name.ends_with(".ncs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Truncates a file before its first event of a step after `step`, or before an incomplete record.
fn truncate_after(path: &Path, step: u64) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut kept = 0;
    while let Some(record) = read_record(&mut file)? {
        if step_of(&record).is_none_or(|last| last > step) {
            break;
        }
        kept += RECORD_FRAME + record.len() as u64;
    }
    OpenOptions::new().write(true).open(path)?.set_len(kept)
}

/// Bytes around a record: its length, and two checksums.
const RECORD_FRAME: u64 = 16;

/// Maximum record length; longer records were not written here.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Reads the next record; `None` at the end of the file and before an incomplete record.
fn read_record(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 12];
    if !read_fully(file, &mut head)? {
        return Ok(None);
    }
    let n_bytes = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
    if n_bytes > MAX_RECORD_BYTES {
        return Ok(None);
    }
    let mut record = vec![0; n_bytes as usize];
    let mut sum = [0; 4];
    let is_whole = read_fully(file, &mut record)? && read_fully(file, &mut sum)?;
    Ok(is_whole.then_some(record))
}

/// Fills `bytes`; false at the end of the file.
fn read_fully(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the step of an event written by [`event`]; `None` for any other record.
fn step_of(record: &[u8]) -> Option<u64> {
    let (time, rest) = record.split_at_checked(9)?;
    let (&tag, rest) = rest.split_first()?;
    (time[0] == WALL_TIME << 3 | 1 && tag == STEP << 3).then_some(())?;
    let mut step = 0;
    for (n, byte) in rest.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

// Field numbers of `Event`.
const WALL_TIME: u8 = 1;
const STEP: u8 = 2;
const FILE_VERSION: u8 = 3;
const SUMMARY: u8 = 5;
const SESSION_LOG: u8 = 7;
// Of `SessionLog`, and its status START.
const SESSION_STATUS: u8 = 1;
const SESSION_STARTED: u64 = 1;
// Of `Summary` and `Summary.Value`.
const SUMMARY_VALUE: u8 = 1;
const VALUE_TAG: u8 = 1;
const VALUE_SIMPLE: u8 = 2;

fn event(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![WALL_TIME << 3 | 1]; // wire type 1: eight bytes
    event.extend(wall_time.to_le_bytes());
    put_integer(&mut event, STEP, step);
    event
}

fn summary(tag: &str, value: f32) -> Vec<u8> {
    let mut entry = Vec::new();
    push_bytes(&mut entry, VALUE_TAG.into(), tag.as_bytes());
    entry.push(VALUE_SIMPLE << 3 | 5); // wire type 5: four bytes
    entry.extend(value.to_le_bytes());
    let mut summary = Vec::new();
    push_bytes(&mut summary, SUMMARY_VALUE.into(), &entry);
    summary
}

fn put_integer(message: &mut Vec<u8>, field: u8, value: u64) {
    message.push(field << 3); // wire type 0: varint
    push_varint(message, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ncs_features::record_bytes::masked_crc;

    /// Splits a file into its records, checking every length and checksum.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (length_sum, rest) = rest.split_at(4);
            assert_eq!(length_sum, masked_crc(length).to_le_bytes());
            let n_bytes = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (record, rest) = rest.split_at(n_bytes);
            let (record_sum, rest) = rest.split_at(4);
            assert_eq!(record_sum, masked_crc(record).to_le_bytes());
            records.push(record.to_vec());
            bytes = rest;
        }
        records
    }

    #[test]
    fn a_scalar_is_an_event_of_the_documented_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventWriter::create(folder.path()).unwrap();
        events.scalar("auc", 300, 0.5, 2.0).unwrap();
        events.flush().unwrap();
        let records = records(&fs::read(events.path()).unwrap());
        let two = [0, 0, 0, 0, 0, 0, 0, 64];
        let header = [&[9][..], &two, &[16, 0, 26, 13], b"brain.Event:2"].concat();
        let value = [&[10, 3][..], b"auc", &[21, 0, 0, 0, 63]].concat();
        let scalar = [&[9][..], &two, &[16, 172, 2, 42, 12, 10, 10], &value].concat();
        assert_eq!(records, [header, scalar]);
    }

    #[test]
    fn resuming_writes_the_next_file_and_removes_repeated_steps() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventWriter::resume(folder.path(), 0).unwrap();
        for step in [300, 500, 700] {
            first.scalar("loss", step, 0.5, 2.0).unwrap();
            first.scalar("auc", step, 0.5, 2.0).unwrap();
        }
        first.flush().unwrap();
        let path = first.path().to_owned();
        let steps = |path: &Path| -> Vec<u64> {
            let records = records(&fs::read(path).unwrap());
            records
                .iter()
                .map(|record| step_of(record).unwrap())
                .collect()
        };
        assert_eq!(steps(&path), [0, 300, 300, 500, 500, 700, 700]);

        let mut second = EventWriter::resume(folder.path(), 500).unwrap();
        assert!(path.as_path() < second.path());
        second.scalar("auc", 700, 0.5, 2.0).unwrap();
        second.flush().unwrap();
        assert_eq!(steps(&path), [0, 300, 300, 500, 500]);
        let resumed = records(&fs::read(second.path()).unwrap());
        assert_eq!(resumed.len(), 3);
        assert_eq!(resumed[1][9..], [16, 245, 3, 58, 2, 8, 1]);

        // A process that was killed leaves half a record.
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        EventWriter::resume(folder.path(), 500).unwrap();
        assert_eq!(steps(&path), [0, 300, 300, 500]);
        EventWriter::resume(folder.path(), 0).unwrap();
        assert_eq!(steps(&path), [0]);
    }
}

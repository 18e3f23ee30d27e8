//! The file of one part.
//!
//! ```text
//! header   "ncs-ids\0", u32 version, u32 length of the layout, 32 bytes key, the layout, u64 checksum
//! blocks   bytes of a block (see `blocks`), u64 checksum
//! footer   u64 blocks; for each: u64 offset, u32 bytes, u32 rows, u32 known rows of each task
//!          u64 rows; for each task: u64 known, u64 positives, f32 least, f32 most (NaN: none known),
//!          f64 weight of the known, f64 weight of the positives where rows count by weight
//! tail     u64 length of the footer, u64 checksum of the footer, "ncs-end\0"
//! ```
//!
//! Numbers are little-endian; checksums are XXH3, 64 bits, of all bytes of their section before them.

use super::blocks::{Bytes, Layout};
use super::{CacheError, VERSION};
use ncs_features::hash::seeded_hash;
use ncs_features::{Batch, LabelCounts, TaskCounts};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(super) const START: &[u8; 8] = b"ncs-ids\0";
pub(super) const END: &[u8; 8] = b"ncs-end\0";
const HEADER_BYTES: usize = 48;
const TAIL_BYTES: u64 = 24;
/// More than this for one section of a file is damage, not data.
const SECTION_LIMIT: u64 = 1 << 32;

/// A part's file, opened and checked, its blocks not yet read.
#[derive(Debug)]
pub(crate) struct PartFile {
    pub(crate) path: PathBuf,
    pub(crate) key: [u8; 32],
    pub(crate) layout: Layout,
    pub(crate) blocks: Vec<BlockEntry>,
    pub(crate) counts: LabelCounts,
    pub(crate) n_bytes: u64,
}

/// Position and content of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) offset: u64,
    /// Without its checksum.
    pub(crate) n_bytes: u32,
    pub(crate) rows: u32,
    /// Rows with a known label, task by task.
    pub(crate) known: Vec<u32>,
}

impl PartFile {
    pub(crate) fn open(path: &Path) -> Result<PartFile, CacheError> {
        let mut file = File::open(path).map_err(CacheError::io(path, "open"))?;
        let n_bytes = file.metadata().map_err(CacheError::io(path, "open"))?.len();
        let mut reader = Reader {
            path,
            file: &mut file,
        };
        let (key, layout) = reader.header()?;
        let footer = reader.footer(n_bytes)?;
        let (blocks, counts) = footer_from_bytes(&footer, &layout)
            .ok_or_else(|| CacheError::damaged(path, "its index does not fit its layout"))?;
        Ok(PartFile {
            path: path.to_owned(),
            key,
            layout,
            blocks,
            counts,
            n_bytes,
        })
    }

    /// Opens the file again, for one reader.
    pub(crate) fn reopen(&self) -> Result<File, CacheError> {
        File::open(&self.path).map_err(CacheError::io(&self.path, "open"))
    }

    /// Checks the bytes of every block, without making rows of them.
    pub(crate) fn check_blocks(&self) -> Result<(), CacheError> {
        let mut file = self.reopen()?;
        let mut reader = Reader {
            path: &self.path,
            file: &mut file,
        };
        for (number, entry) in self.blocks.iter().enumerate() {
            let n_bytes = u64::from(entry.n_bytes);
            reader.checked(entry.offset, n_bytes, &format!("block {number}"))?;
        }
        Ok(())
    }

    /// Reads the rows of one block; `file` is this file, opened separately by each reader.
    pub(crate) fn read_block(&self, file: &mut File, block: usize) -> Result<Batch, CacheError> {
        let entry = &self.blocks[block];
        let mut reader = Reader {
            path: &self.path,
            file,
        };
        let what = format!("block {block}");
        let bytes = reader.checked(entry.offset, u64::from(entry.n_bytes), &what)?;
        let batch = self
            .layout
            .read(&bytes)
            .filter(|batch| batch.n_rows == entry.rows as usize);
        batch.ok_or_else(|| CacheError::damaged(&self.path, format!("{what} does not fit")))
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: &'a mut File,
}

impl Reader<'_> {
    fn header(&mut self) -> Result<([u8; 32], Layout), CacheError> {
        let fixed = self.bytes(0, HEADER_BYTES as u64)?;
        let refuse = || CacheError::damaged(self.path, "its header is invalid");
        let parts = header_parts(&fixed).ok_or_else(refuse)?;
        if parts.version != VERSION {
            return Err(CacheError::Version {
                path: self.path.to_owned(),
                found: parts.version,
            });
        }
        let n_bytes = HEADER_BYTES as u64 + u64::from(parts.layout_bytes);
        let header = self.checked(0, n_bytes, "its header")?;
        let layout = Layout::from_bytes(&header[HEADER_BYTES..]);
        let refuse = || CacheError::damaged(self.path, "its layout is invalid");
        Ok((parts.key, layout.ok_or_else(refuse)?))
    }

    fn footer(&mut self, file_bytes: u64) -> Result<Vec<u8>, CacheError> {
        let cut = || CacheError::damaged(self.path, "it is cut short");
        let tail_start = file_bytes.checked_sub(TAIL_BYTES).ok_or_else(cut)?;
        let tail = self.bytes(tail_start, TAIL_BYTES)?;
        let mut tail = Bytes(&tail);
        let fields = (tail.u64(), tail.u64(), tail.array::<8>());
        let (Some(n_bytes), Some(checksum), Some(END)) = (fields.0, fields.1, fields.2.as_ref())
        else {
            return Err(CacheError::damaged(self.path, "it is cut short"));
        };
        let cut = || CacheError::damaged(self.path, "its index is longer than the file");
        let start = tail_start.checked_sub(n_bytes).ok_or_else(cut)?;
        let footer = self.bytes(start, n_bytes)?;
        self.check(&footer, checksum, "its index")?;
        Ok(footer)
    }

    /// Reads `n_bytes` bytes that are followed by their checksum, and checks it.
    fn checked(&mut self, offset: u64, n_bytes: u64, what: &str) -> Result<Vec<u8>, CacheError> {
        let mut bytes = self.bytes(offset, n_bytes + 8)?;
        let checksum = bytes.split_off(n_bytes as usize);
        let checksum = Bytes(&checksum).u64().unwrap_or_default();
        self.check(&bytes, checksum, what)?;
        Ok(bytes)
    }

    fn check(&self, bytes: &[u8], checksum: u64, what: &str) -> Result<(), CacheError> {
        if seeded_hash(bytes, 0) == checksum {
            return Ok(());
        }
        Err(CacheError::damaged(
            self.path,
            format!("{what} fails its checksum"),
        ))
    }

    fn bytes(&mut self, offset: u64, n_bytes: u64) -> Result<Vec<u8>, CacheError> {
        if n_bytes > SECTION_LIMIT {
            return Err(CacheError::damaged(self.path, "a length in it is absurd"));
        }
        let read = CacheError::io(self.path, "read");
        if let Err(error) = self.file.seek(SeekFrom::Start(offset)) {
            return Err(read(error));
        }
        let mut bytes = Vec::new();
        if let Err(error) = self.file.take(n_bytes).read_to_end(&mut bytes) {
            return Err(read(error));
        }
        if bytes.len() as u64 != n_bytes {
            return Err(CacheError::damaged(self.path, "it is cut short"));
        }
        Ok(bytes)
    }
}

struct HeaderParts {
    version: u32,
    layout_bytes: u32,
    key: [u8; 32],
}

fn header_parts(bytes: &[u8]) -> Option<HeaderParts> {
    let mut bytes = Bytes(bytes);
    let start = bytes.array::<8>()?;
    (&start == START).then_some(())?;
    Some(HeaderParts {
        version: bytes.u32()?,
        layout_bytes: bytes.u32()?,
        key: bytes.array()?,
    })
}

pub(super) fn header_bytes(key: &[u8; 32], layout: &Layout) -> Vec<u8> {
    let layout = layout.to_bytes();
    let mut bytes = START.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((layout.len() as u32).to_le_bytes());
    bytes.extend(key);
    bytes.extend(layout);
    with_checksum(bytes)
}

pub(super) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = seeded_hash(&bytes, 0);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Returns the footer and the tail.
pub(super) fn footer_bytes(blocks: &[BlockEntry], counts: &LabelCounts) -> Vec<u8> {
    let mut bytes = (blocks.len() as u64).to_le_bytes().to_vec();
    for block in blocks {
        bytes.extend(block.offset.to_le_bytes());
        bytes.extend(block.n_bytes.to_le_bytes());
        bytes.extend(block.rows.to_le_bytes());
        bytes.extend(block.known.iter().flat_map(|known| known.to_le_bytes()));
    }
    bytes.extend(counts.rows.to_le_bytes());
    for task in &counts.tasks {
        let (least, most) = task.range.unwrap_or((f32::NAN, f32::NAN));
        bytes.extend(task.known.to_le_bytes());
        bytes.extend(task.positives.to_le_bytes());
        bytes.extend(least.to_le_bytes());
        bytes.extend(most.to_le_bytes());
        let masses = task.masses.iter().flatten();
        bytes.extend(masses.flat_map(|mass| mass.to_le_bytes()));
    }
    let n_bytes = bytes.len() as u64;
    let checksum = seeded_hash(&bytes, 0);
    bytes.extend(n_bytes.to_le_bytes());
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(END);
    bytes
}

fn footer_from_bytes(bytes: &[u8], layout: &Layout) -> Option<(Vec<BlockEntry>, LabelCounts)> {
    let n_tasks = layout.n_tasks();
    let mut bytes = Bytes(bytes);
    let n_blocks = bytes.u64()?;
    let mut blocks = Vec::new();
    for _ in 0..n_blocks {
        blocks.push(BlockEntry {
            offset: bytes.u64()?,
            n_bytes: bytes.u32()?,
            rows: bytes.u32()?,
            known: (0..n_tasks).map(|_| bytes.u32()).collect::<Option<_>>()?,
        });
    }
    let rows = bytes.u64()?;
    let tasks = (0..n_tasks)
        .map(|task| task_counts(&mut bytes, layout.weighs(task)))
        .collect::<Option<_>>()?;
    let fits = rows
        == blocks
            .iter()
            .map(|block| u64::from(block.rows))
            .sum::<u64>();
    (fits && bytes.0.is_empty()).then_some((blocks, LabelCounts { rows, tasks }))
}

fn task_counts(bytes: &mut Bytes, weighs: bool) -> Option<TaskCounts> {
    let (known, positives) = (bytes.u64()?, bytes.u64()?);
    let (least, most) = (bytes.f32()?, bytes.f32()?);
    Some(TaskCounts {
        known,
        positives,
        range: (!least.is_nan()).then_some((least, most)),
        masses: if weighs {
            Some([bytes.f64()?, bytes.f64()?])
        } else {
            None
        },
    })
}

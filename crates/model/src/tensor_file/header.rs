//! The header of a tensor file: its bytes, and its checksum of itself.

use super::Entry;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

const HEADER_START: &str = r#"{"__metadata__":{"b3":""#;
const DIGITS: usize = 2 * blake3::OUT_LEN;
/// The bytes of a file that hold the header's own hash.
const HEADER_HASH: std::ops::Range<usize> = 8 + HEADER_START.len()..8 + HEADER_START.len() + DIGITS;
/// Maximum header size that readers of the format accept.
const MAX_HEADER_BYTES: usize = 100_000_000;

/// Verifies the header's hash of itself, before anything else in it is used.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), &'static str> {
    let length = bytes
        .first_chunk()
        .ok_or("it ends within its first 8 bytes")?;
    let end = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .and_then(|n| n.checked_add(8));
    let header = end
        .and_then(|end| bytes.get(..end))
        .ok_or("it ends within its header")?;
    let own = header
        .get(HEADER_HASH)
        .ok_or("its header carries no checksum")?;
    if !header[8..].starts_with(HEADER_START.as_bytes()) {
        return Err("its header carries no checksum");
    }
    if header_hash(header).to_hex().as_bytes() != own {
        return Err("its header does not match its checksum");
    }
    Ok(())
}

/// Returns the BLAKE3 of the length and the header, with the digits of the hash itself as zeros.
fn header_hash(header: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&header[..HEADER_HASH.start])
        .update(&[b'0'; DIGITS]);
    hasher.update(&header[HEADER_HASH.end..]).finalize()
}

pub(super) fn hash_key(tensor: &str) -> String {
    format!("b3:{tensor}")
}

/// The contents of a file, prepared before its first byte is written.
pub(super) struct FilePlan<'a> {
    /// The length and the header.
    header: Vec<u8>,
    entries: &'a [Entry<'a>],
    pub(super) hashes: Vec<(String, blake3::Hash)>,
}

impl<'a> FilePlan<'a> {
    pub(super) fn new(
        entries: &'a [Entry<'a>],
        metadata: &BTreeMap<String, String>,
    ) -> Result<FilePlan<'a>, String> {
        check_entries(entries)?;
        if let Some(key) = metadata
            .keys()
            .find(|key| *key == "b3" || key.starts_with("b3:"))
        {
            return Err(format!(
                "the metadata key {key:?} is kept for checksums: choose another"
            ));
        }
        let hashes: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.values.hash()))
            .collect();
        let header = header(entries, &hashes, metadata);
        if header.len() - 8 > MAX_HEADER_BYTES {
            return Err(format!(
                "its header would be above {MAX_HEADER_BYTES} bytes"
            ));
        }
        Ok(FilePlan {
            header,
            entries,
            hashes,
        })
    }

    pub(super) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        for entry in self.entries {
            entry.values.visit_bytes(|bytes| out.write_all(bytes))?;
        }
        Ok(())
    }
}

fn check_entries(entries: &[Entry<'_>]) -> Result<(), String> {
    let mut names = HashSet::from(["__metadata__"]);
    for Entry {
        name,
        shape,
        values,
    } in entries
    {
        if !names.insert(name) {
            return Err(format!(
                "tensor name {name:?} is taken: give each tensor its own"
            ));
        }
        let n_values = values.n_bytes() / values.size();
        let product = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if product != Some(n_values) {
            return Err(format!(
                "tensor {name:?} of shape {shape:?} has {n_values} values"
            ));
        }
    }
    Ok(())
}

fn header(
    entries: &[Entry<'_>],
    hashes: &[(String, blake3::Hash)],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = format!("{HEADER_START}{}\"", "0".repeat(DIGITS));
    for (name, hash) in hashes {
        json += &format!(",{}:\"{hash}\"", quoted(&hash_key(name)));
    }
    for (key, value) in metadata {
        json += &format!(",{}:{}", quoted(key), quoted(value));
    }
    json += "}";
    let mut start = 0;
    for Entry {
        name,
        shape,
        values,
    } in entries
    {
        let (name, dtype, end) = (quoted(name), values.dtype(), start + values.n_bytes());
        let shape = shape
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(",");
        json += &format!(
            ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{start},{end}]}}"
        );
        start = end;
    }
    json += "}";
    json += &" ".repeat(json.len().next_multiple_of(8) - json.len());
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.as_bytes());
    let hash = header_hash(&header).to_hex();
    header[HEADER_HASH].copy_from_slice(hash.as_bytes());
    header
}

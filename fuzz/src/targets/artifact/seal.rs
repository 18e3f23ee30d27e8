//! Files of a model, with checksums recomputed after mutation.

use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;

const MANIFEST: &str = "manifest.json";
const MANIFEST_SUM: &str = "manifest.json.b3";
const SELF_TEST: &str = "self_test.json";
const WEIGHTS: &str = "weights.safetensors";

/// The start of a header by `ncs_model::tensor_file`.
const HEADER_START: &str = r#"{"__metadata__":{"b3":""#;
const DIGITS: usize = 64;

/// The files of a model.
pub(super) struct Files {
    manifest: Vec<u8>,
    sum: Vec<u8>,
    self_test: Vec<u8>,
    weights: Vec<u8>,
}

impl Files {
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(MANIFEST), &self.manifest)?;
        fs::write(folder.join(MANIFEST_SUM), &self.sum)?;
        fs::write(folder.join(SELF_TEST), &self.self_test)?;
        fs::write(folder.join(WEIGHTS), &self.weights)
    }
}

/// Returns the input for the model in `folder`.
pub(super) fn input(folder: &Path) -> io::Result<Vec<u8>> {
    // Without whitespace, so that mutations change the contents.
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join(MANIFEST))?)?;
    let self_test = fs::read(folder.join(SELF_TEST))?;
    let weights = fs::read(folder.join(WEIGHTS))?;
    let manifest = manifest.to_string();
    Ok([&[0], manifest.as_bytes(), &[0], &self_test, &[0], &weights].concat())
}

/// Returns the files of an input; `None` if it has too few parts.
pub(super) fn files(input: &[u8]) -> Option<Files> {
    let (&flags, rest) = input.split_first()?;
    let mut parts = rest.splitn(3, |&byte| byte == 0);
    let mut manifest = parts.next()?.to_vec();
    let self_test = parts.next()?.to_vec();
    let mut weights = parts.next()?.to_vec();
    let keeps = |bit: u8| flags >> bit & 1 == 1;
    if !keeps(0) {
        weights = with_tensor_sums(&weights).unwrap_or(weights);
    }
    if !keeps(1) {
        update_header_sum(&mut weights);
    }
    if !keeps(2) {
        manifest = with_tensors_of(&manifest, &weights).unwrap_or(manifest);
    }
    if !keeps(4) {
        manifest = with_self_test(&manifest, &self_test).unwrap_or(manifest);
    }
    let sum = if keeps(3) {
        "0".repeat(DIGITS)
    } else {
        blake3::hash(&manifest).to_hex().to_string()
    };
    Some(Files {
        sum: format!("{sum}  {MANIFEST}\n").into_bytes(),
        manifest,
        self_test,
        weights,
    })
}

/// Returns the header of a weights file, and the offset of its tensors.
fn header(weights: &[u8]) -> Option<(Value, usize)> {
    let length = usize::try_from(u64::from_le_bytes(*weights.first_chunk()?)).ok()?;
    let end = length.checked_add(8)?;
    let header = serde_json::from_slice(weights.get(8..end)?).ok()?;
    Some((header, end))
}

/// Recomputes the checksums of the tensors.
fn with_tensor_sums(weights: &[u8]) -> Option<Vec<u8>> {
    let (mut header, start) = header(weights)?;
    let sums = tensor_sums(&header, &weights[start..])?;
    let metadata = header.get_mut("__metadata__")?.as_object_mut()?;
    metadata.insert("b3".to_owned(), "0".repeat(DIGITS).into());
    metadata.extend(
        sums.into_iter()
            .map(|(name, sum)| (format!("b3:{name}"), sum.into())),
    );
    let mut text = header.to_string();
    text += &" ".repeat(text.len().next_multiple_of(8) - text.len());
    let length = (text.len() as u64).to_le_bytes();
    Some([&length, text.as_bytes(), &weights[start..]].concat())
}

fn tensor_sums(header: &Value, data: &[u8]) -> Option<Vec<(String, String)>> {
    let tensors = header.as_object()?.iter();
    let tensors = tensors.filter(|(name, _)| *name != "__metadata__");
    let sum = |(name, about): (&String, &Value)| {
        let offsets = &about["data_offsets"];
        let place = |i: usize| usize::try_from(offsets[i].as_u64()?).ok();
        let bytes = data.get(place(0)?..place(1)?)?;
        Some((name.clone(), blake3::hash(bytes).to_hex().to_string()))
    };
    tensors.map(sum).collect()
}

/// Recomputes the checksum of the header.
fn update_header_sum(weights: &mut [u8]) {
    let Some(length) = weights
        .first_chunk()
        .map(|&length| u64::from_le_bytes(length))
    else {
        return;
    };
    let end = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(8);
    let place = 8 + HEADER_START.len()..8 + HEADER_START.len() + DIGITS;
    let header = weights
        .get_mut(..end)
        .filter(|header| header.len() >= place.end);
    if let Some(header) = header {
        header[place.clone()].fill(b'0');
        let sum = blake3::hash(header).to_hex();
        header[place].copy_from_slice(sum.as_bytes());
    }
}

/// Copies the checksums of the tensors from the weights to the manifest.
fn with_tensors_of(manifest: &[u8], weights: &[u8]) -> Option<Vec<u8>> {
    let mut manifest: Value = serde_json::from_slice(manifest).ok()?;
    let (header, _) = header(weights)?;
    let metadata = header["__metadata__"].as_object()?.iter();
    let sums =
        metadata.filter_map(|(key, sum)| Some((key.strip_prefix("b3:")?.to_owned(), sum.clone())));
    *manifest.get_mut("tensors")? = Value::Object(sums.collect());
    Some(manifest.to_string().into_bytes())
}

/// Recomputes the checksum of the self-test in the manifest, if it has one.
fn with_self_test(manifest: &[u8], self_test: &[u8]) -> Option<Vec<u8>> {
    let mut manifest: Value = serde_json::from_slice(manifest).ok()?;
    let sum = blake3::hash(self_test).to_hex().to_string();
    *manifest.get_mut("self_test")? = sum.into();
    Some(manifest.to_string().into_bytes())
}

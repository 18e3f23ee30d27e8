use super::replace::temporary;
use super::*;
use crate::tables::SlotRows;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ncs-tensor-file-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(&self.0).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A writer that accepts this many bytes, then has no space left.
struct FullAfter<'a> {
    out: &'a mut dyn Write,
    bytes: usize,
}

impl Write for FullAfter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.out.write(&bytes[..bytes.len().min(self.bytes)])?;
        self.bytes -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn entry<'a>(name: &str, shape: &[usize], values: Values<'a>) -> Entry<'a> {
    Entry {
        name: name.into(),
        shape: shape.into(),
        values,
    }
}

fn entries() -> Vec<Entry<'static>> {
    vec![
        entry("mask", &[3], Values::U8(&[0, 255, 7])),
        entry(
            "w",
            &[2, 2],
            Values::F32(&[1.5, -0.0, f32::MIN_POSITIVE, f32::INFINITY]),
        ),
        entry("none", &[0, 4], Values::U32(&[])),
        entry("ids \"é\"\n", &[2, 1], Values::U32(&[0, u32::MAX])),
        entry("state", &[], Values::U64(&[u64::MAX - 1])),
    ]
}

fn notes() -> BTreeMap<String, String> {
    [("step", "12"), ("a \"quoted\"\nkey", "é\u{1}"), ("", "")]
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .into()
}

/// Returns the bytes of a small file.
fn small_file() -> Vec<u8> {
    let mut bytes = Vec::new();
    FilePlan::new(&entries(), &notes())
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    bytes
}

fn parse(bytes: Vec<u8>) -> Result<TensorFile, TensorFileError> {
    TensorFile::parse("w.safetensors".as_ref(), Bytes::Read(bytes))
}

fn header_end(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize
}

#[test]
fn every_type_round_trips() {
    let folder = Folder::new();
    let hashes = write(&folder.path(), &entries(), &notes()).unwrap();
    let file = TensorFile::read(&folder.path()).unwrap();
    assert_eq!(folder.names(), ["model.safetensors"]);
    assert_eq!(file.u8("mask").unwrap(), [0, 255, 7]);
    let weights = file
        .f32("w")
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect::<Vec<_>>();
    assert_eq!(
        weights,
        [1.5, -0.0, f32::MIN_POSITIVE, f32::INFINITY].map(f32::to_bits)
    );
    assert_eq!(file.u32("none").unwrap(), [0_u32; 0]);
    assert_eq!(file.u32("ids \"é\"\n").unwrap(), [0, u32::MAX]);
    assert_eq!(file.u64("state").unwrap(), [u64::MAX - 1]);
    for (entry, (name, hash)) in entries().iter().zip(&hashes) {
        assert_eq!(
            (file.shape(name).unwrap(), name),
            (&entry.shape[..], &entry.name)
        );
        assert_eq!(
            file.metadata(&hash_key(name)).unwrap(),
            hash.to_hex().as_str()
        );
    }
    for (key, value) in notes() {
        assert_eq!(file.metadata(&key), Some(&*value));
    }
    assert_eq!(file.metadata("absent"), None);
    assert!(file.names().eq(entries().iter().map(|entry| &*entry.name)));
    assert!(file.has("none") && !file.has("absent"));
    assert_eq!(hashes[0].1, blake3::hash(&[0, 255, 7]));
}

#[test]
fn rows_are_written_like_a_copy() {
    let mut rows: SlotRows<f32> = SlotRows::new(3, 30_000);
    rows.grow_to(30_001);
    for slot in 1..=30_000u32 {
        rows.row_mut(slot)
            .copy_from_slice(&[0.0, 0.25, 0.5].map(|x| x + slot as f32));
    }
    let n_rows = 29_000;
    let copy: Vec<f32> = (1..=n_rows as u32)
        .flat_map(|slot| rows.row(slot).to_vec())
        .collect();
    let rows = FirstRows {
        rows: &rows,
        n_rows,
    };
    let bytes = |values| {
        let mut bytes = Vec::new();
        let entries = [entry("rows", &[copy.len() / 3, 3], values)];
        let plan = FilePlan::new(&entries, &BTreeMap::new()).unwrap();
        plan.write_to(&mut bytes).unwrap();
        bytes
    };
    let streamed = bytes(Values::F32Rows(rows));
    assert!(streamed == bytes(Values::F32(&copy)));
    let file = parse(streamed).unwrap();
    assert!(file.f32_values("rows").unwrap().eq(copy.iter().copied()));
}

#[test]
fn nans_keep_their_bits() {
    let bits = [0x7fc0_0001, 0xffa0_0000, 0x7f80_0001];
    let numbers = bits.map(f32::from_bits);
    let entries = [entry("nan", &[3], Values::F32(&numbers))];
    let mut bytes = Vec::new();
    FilePlan::new(&entries, &BTreeMap::new())
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    let read = parse(bytes).unwrap().f32("nan").unwrap();
    assert_eq!(read.into_iter().map(f32::to_bits).collect::<Vec<_>>(), bits);
}

#[test]
fn an_empty_file_is_valid() {
    let folder = Folder::new();
    assert_eq!(write(&folder.path(), &[], &BTreeMap::new()).unwrap(), []);
    assert_eq!(TensorFile::read(&folder.path()).unwrap().names().count(), 0);
}

#[test]
fn large_tensors_round_trip() {
    let weights: Vec<f32> = (0..100_003).map(|i| i as f32 / 7.0).collect();
    let bytes: Vec<u8> = (0..200_003).map(|i| (i % 251) as u8).collect();
    let entries = [
        entry("b", &[200_003], Values::U8(&bytes)),
        entry("w", &[100_003], Values::F32(&weights)),
    ];
    let folder = Folder::new();
    write(&folder.path(), &entries, &BTreeMap::new()).unwrap();
    let file = TensorFile::read(&folder.path()).unwrap();
    assert_eq!(
        (file.f32("w").unwrap(), file.u8("b").unwrap()),
        (weights, bytes)
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = Folder::new();
    write(&folder.path(), &entries(), &notes()).unwrap();
    let first = fs::read(folder.path()).unwrap();
    write(&folder.path(), &entries(), &notes()).unwrap();
    assert_eq!(fs::read(folder.path()).unwrap(), first);
    assert_eq!(small_file(), first);
    assert_eq!(header_end(&first) % 8, 0);
}

#[test]
fn any_reader_of_the_format_reads_the_file() {
    let bytes = small_file();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("mask").unwrap().data(), [0, 255, 7]);
    assert_eq!(file.len(), entries().len());
}

#[test]
fn every_changed_bit_of_the_header_is_detected() {
    let whole = small_file();
    for bit in 0..8 * header_end(&whole) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let actual = parse(bytes);
        assert!(
            matches!(actual, Err(TensorFileError::Damaged { .. })),
            "bit {bit}: {actual:?}"
        );
    }
}

#[test]
fn a_changed_byte_is_reported_with_the_name_of_its_tensor() {
    let whole = small_file();
    let (start, mut state) = (header_end(&whole), 7_u64);
    for _ in 0..1000 {
        // The upper bits of Knuth's MMIX generator.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let offset = (state >> 33) as usize % (whole.len() - start);
        let change = ((state >> 24) as u8).max(1);
        let mut bytes = whole.clone();
        bytes[start + offset] ^= change;
        // mask has 3 bytes, w 16, ids 8, state 8.
        let expected = match offset {
            0..3 => "mask",
            3..19 => "w",
            19..27 => "ids \"é\"\n",
            _ => "state",
        };
        match parse(bytes) {
            Err(TensorFileError::DamagedTensor { tensor, .. }) => assert_eq!(tensor, expected),
            actual => panic!("byte {offset} changed by {change}: {actual:?}"),
        }
    }
}

#[test]
fn truncated_and_extended_files_are_rejected() {
    let whole = small_file();
    for length in 0..whole.len() {
        let actual = parse(whole[..length].to_vec());
        assert!(
            matches!(actual, Err(TensorFileError::Damaged { .. })),
            "{length}: {actual:?}"
        );
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(
        parse(longer),
        Err(TensorFileError::Damaged { .. })
    ));
}

#[test]
fn files_of_other_programs_are_rejected() {
    let view = safetensors::tensor::TensorView::new(Dtype::U8, vec![64], &[1; 64]).unwrap();
    let bytes = safetensors::serialize([("a tensor of another program", view)], None).unwrap();
    let error = parse(bytes).unwrap_err().to_string();
    assert_eq!(
        error,
        "w.safetensors: damaged, or not a file of ncs4cvr: its header carries no checksum; \
         restore a copy, or create it again"
    );
}

#[test]
fn a_full_disk_at_any_byte_leaves_the_previous_file() {
    let folder = Folder::new();
    write_bytes(&folder.path(), b"previous").unwrap();
    let (entries, notes, length) = (entries(), notes(), small_file().len());
    let plan = FilePlan::new(&entries, &notes).unwrap();
    for bytes in 0..length {
        let full = replace(&folder.path(), |out| {
            plan.write_to(&mut FullAfter { out, bytes })
        });
        assert!(
            matches!(full, Err(TensorFileError::DiskFull { .. })),
            "after {bytes}: {full:?}"
        );
        assert_eq!(fs::read(folder.path()).unwrap(), b"previous");
        assert_eq!(folder.names(), ["model.safetensors"]);
    }
    replace(&folder.path(), |out| {
        plan.write_to(&mut FullAfter { out, bytes: length })
    })
    .unwrap();
    TensorFile::read(&folder.path()).unwrap();
}

/// The temporary file is a link to the system's full device.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_leaves_the_previous_file_and_gives_advice() {
    let folder = Folder::new();
    write_bytes(&folder.path(), b"previous").unwrap();
    std::os::unix::fs::symlink("/dev/full", temporary(&folder.path())).unwrap();
    let error = write(&folder.path(), &entries(), &notes()).unwrap_err();
    let expected = format!(
        "{}: no space left: free some and run again; the previous file is untouched",
        folder.path().display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read(folder.path()).unwrap(), b"previous");
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[test]
fn a_path_that_cannot_be_written_or_read_is_named() {
    let folder = Folder::new();
    let absent = folder.0.join("absent").join("w.safetensors");
    let error = write_bytes(&absent, b"").unwrap_err();
    assert!(matches!(error, TensorFileError::Unwritten { .. }));
    assert!(error.to_string().starts_with(&absent.display().to_string()));
    assert!(matches!(
        TensorFile::read(&absent),
        Err(TensorFileError::Unreadable { .. })
    ));

    // With a folder at this path the temporary file can be written, but not renamed.
    fs::create_dir(folder.path()).unwrap();
    let error = write_bytes(&folder.path(), b"").unwrap_err();
    assert!(matches!(error, TensorFileError::Unwritten { .. }));
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[test]
fn a_temporary_file_left_by_a_crash_is_overwritten() {
    let folder = Folder::new();
    fs::write(temporary(&folder.path()), [7; 10_000]).unwrap();
    write_bytes(&folder.path(), b"new").unwrap();
    assert_eq!(fs::read(folder.path()).unwrap(), b"new");
    assert_eq!(folder.names(), ["model.safetensors"]);
}

#[track_caller]
fn check_unwritable(entries: &[Entry<'_>], key: &str, expected: &str) {
    let folder = Folder::new();
    let metadata = [(key.to_string(), String::new())].into();
    let error = write(&folder.path(), entries, &metadata)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with(&format!(": cannot be written: {expected}")),
        "{error}"
    );
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn invalid_entries_are_rejected_before_anything_is_written() {
    let byte = |name, shape: &[usize]| entry(name, shape, Values::U8(&[0]));
    check_unwritable(
        &[byte("a", &[2])],
        "",
        "tensor \"a\" of shape [2] has 1 values",
    );
    let taken = "is taken: give each tensor its own";
    let twice = [byte("a", &[1]), byte("a", &[])];
    check_unwritable(&twice, "", &format!("tensor name \"a\" {taken}"));
    let reserved = format!("tensor name \"__metadata__\" {taken}");
    check_unwritable(&[byte("__metadata__", &[1])], "", &reserved);
    let huge = [usize::MAX, 2];
    check_unwritable(
        &[byte("a", &huge)],
        "",
        &format!("tensor \"a\" of shape {huge:?} has 1 values"),
    );
    for key in ["b3", "b3:a"] {
        let kept = format!("the metadata key {key:?} is kept for checksums: choose another");
        check_unwritable(&[byte("a", &[1])], key, &kept);
    }
}

#[test]
fn a_tensor_that_is_absent_or_of_another_type_is_named() {
    let bytes = [0; 2];
    let entries = [
        entry("mask", &[2], Values::U8(&bytes)),
        entry("w", &[0], Values::F32(&[])),
    ];
    let mut bytes = Vec::new();
    FilePlan::new(&entries, &BTreeMap::new())
        .unwrap()
        .write_to(&mut bytes)
        .unwrap();
    let file = parse(bytes).unwrap();
    assert_eq!(
        file.f32("bias").unwrap_err().to_string(),
        "w.safetensors: no tensor \"bias\"; it has mask, w: use a file of this version and kind"
    );
    assert_eq!(
        file.u64("mask").unwrap_err().to_string(),
        "w.safetensors: tensor \"mask\" is of U8, not U64: use a file of this version and kind"
    );
}

#[test]
fn a_mapped_file_is_a_read_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    write(&path, &entries(), &notes()).unwrap();
    let (read, mapped) = (
        TensorFile::read(&path).unwrap(),
        TensorFile::map(&path).unwrap(),
    );
    assert!(read.names().eq(mapped.names()));
    for name in read.names() {
        assert_eq!(read.hash(name), mapped.hash(name));
        if let (Ok(read), Ok(mapped)) = (read.f32_rows(name), mapped.f32_rows(name)) {
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(&mapped));
            assert!(!read.is_in_file());
        }
    }
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let [read, mapped] = [TensorFile::read, TensorFile::map].map(|open| open(&path).unwrap_err());
    assert_eq!(mapped.to_string(), read.to_string());
    std::fs::write(&path, "").unwrap();
    assert!(TensorFile::map(&path).is_err());
    assert!(TensorFile::map(&folder.path().join("none")).is_err());
}

#[test]
fn rows_of_a_mapped_file_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let numbers: Vec<f32> = (0..1000_u16).map(f32::from).collect();
    let entries = [
        entry("numbers", &[1000], Values::F32(&numbers)),
        entry("odd", &[1], Values::U8(&[7])),
        entry("after", &[1000], Values::F32(&numbers)),
    ];
    write(&path, &entries, &BTreeMap::new()).unwrap();
    let file = TensorFile::map(&path).unwrap();
    let rows = file.f32_rows("numbers").unwrap();
    assert!(rows.is_in_file());
    // Not aligned: copied.
    assert!(!file.f32_rows("after").unwrap().is_in_file());
    drop(file);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rows, numbers);
}

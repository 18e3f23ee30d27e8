//! The code in `proto/generated/` is that of the messages and services in `proto/`: neither has changed since it was made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn generated_code_is_that_of_the_messages() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let hashes = fs::read_to_string(proto.join("generated/hashes.txt")).unwrap();
    let mut listed = BTreeSet::new();
    for line in hashes.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let found = blake3::hash(&fs::read(proto.join(name)).unwrap()).to_string();
        assert!(
            found == hash,
            "{name} has changed: run cargo run --manifest-path tools/proto/Cargo.toml"
        );
        listed.insert(name.to_owned());
    }
    let present: BTreeSet<String> = ["", "generated/"]
        .iter()
        .flat_map(|folder| {
            let entries = fs::read_dir(proto.join(folder)).unwrap();
            entries.map(move |entry| format!("{folder}{}", entry.unwrap().file_name().display()))
        })
        .filter(|name| name.ends_with(".proto") || name.ends_with(".rs"))
        .collect();
    assert_eq!(listed, present, "files and hashes");
}

//! The reference of the authors' network, `../shared/reference/ncs_fixture.npz`: its arrays, and the
//! model, masks and batches that they make.

use crate::{field, network, table};
use ncs_features::{Batch, FieldIds, Pooling};
use ncs_model::{
    CounterRng, FieldSpec, Mask, Masks, Model, NetworkKind, NetworkPlan, Real, SparseRows, Spec,
    Weights,
};
use std::collections::HashMap;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/reference/ncs_fixture.npz"
);

/// The dense parameters, in the order of a network's layout.
pub const DENSE: [&str; 8] = [
    "fc_0_w", "fc_0_b", "fc_1_w", "fc_1_b", "ctr_w", "ctr_b", "cvr_w", "cvr_b",
];
/// The tables, in the order of the spec.
pub const TABLES: [&str; 4] = ["uid", "vid", "cat", "tag"];

/// All arrays by name, row-major.
pub struct Reference {
    arrays: HashMap<String, Vec<f64>>,
}

impl Reference {
    /// `None` where the folder beside the repository is absent.
    pub fn open() -> Option<Reference> {
        let Ok(bytes) = std::fs::read(FILE) else {
            println!("skipped: ../shared is absent");
            return None;
        };
        let arrays = unzip(&bytes);
        Some(Reference { arrays })
    }

    /// Returns an array.
    ///
    /// # Panics
    /// The fixture has none of this name.
    pub fn array(&self, name: &str) -> &[f64] {
        let array = self.find(name);
        array.unwrap_or_else(|| panic!("the fixture has no array {name}"))
    }

    /// Returns an array, if the fixture has it.
    pub fn find(&self, name: &str) -> Option<&[f64]> {
        self.arrays.get(name).map(Vec::as_slice)
    }

    /// The arrays `prefix/fc_0_w` to `prefix/cvr_b`, end to end as in a network's dense weights.
    pub fn dense(&self, prefix: &str) -> Vec<f64> {
        let arrays = DENSE.map(|name| self.array(&format!("{prefix}/{name}")));
        arrays.concat()
    }

    /// Returns the labels of a batch.
    pub fn labels(&self, batch: usize, name: &str) -> Vec<f32> {
        let labels = self.array(&format!("batch/{batch:02}/{name}"));
        labels.iter().map(|&label| label as f32).collect()
    }

    /// Returns the network at its initial weights, all rows initialised, without masks.
    pub fn model<R: Real>(&self, kind: NetworkKind, pooling: Pooling) -> Model<R> {
        let narrow = |values: &[f64]| values.iter().map(|&x| R::of(x)).collect::<Vec<R>>();
        let rows = |name: &str| {
            let values = narrow(self.array(&format!("init/emb/{name}")));
            SparseRows {
                ids: (0..values.len() as u32 / 4).collect(),
                values: values.into(),
            }
        };
        let weights = Weights {
            dense: narrow(&self.dense("init")),
            tables: TABLES.map(rows).into(),
        };
        let mut model = Model::new(spec(kind, pooling), CounterRng::new(1, "weights"));
        model.network_mut(0).restore(&weights).unwrap();
        model
    }

    /// Returns the masks of both tasks.
    pub fn masks(&self) -> Masks {
        let layer = |task: &str, l: usize, (inputs, outputs)| {
            let bits = self.array(&format!("mask/{task}/fc_{l}"));
            Mask::from_fn(inputs, outputs, |position| bits[position] == 1.0)
        };
        let task = |task| vec![layer(task, 0, (60, 16)), layer(task, 1, (16, 8))];
        Masks {
            tasks: vec![task("ctr"), task("cvr")],
            owners: None,
        }
    }

    /// The ids of a batch; of lists the true values only, since padding them is the model's part.
    pub fn batch(&self, number: usize) -> Batch {
        let array = |part: &str, field: &str| {
            let values = self.array(&format!("batch/{number:02}/{part}/{field}"));
            values.iter().map(|&x| x as u32).collect::<Vec<u32>>()
        };
        let single = |field| FieldIds {
            ids: array("ids", field),
            ..FieldIds::default()
        };
        let list = |field| {
            let (padded, lengths) = (array("ids", field), array("len", field));
            let mut list = FieldIds {
                offsets: vec![0],
                ..FieldIds::default()
            };
            for (row, length) in padded.chunks(padded.len() / lengths.len()).zip(lengths) {
                list.ids.extend(&row[..length as usize]);
                list.offsets.push(list.ids.len() as u32);
            }
            list
        };
        let singles = ["uid", "vid", "svid", "cat"].map(single).into_iter();
        Batch {
            n_rows: 32,
            fields: singles.chain(["tags", "ucat"].map(list)).collect(),
            ..Batch::default()
        }
    }
}

fn spec(kind: NetworkKind, pooling: Pooling) -> Spec {
    let list = |table| FieldSpec {
        pooling: Some(pooling),
        ..field(table)
    };
    Spec {
        fields: vec![field(0), field(1), field(1), field(2), list(3), list(2)],
        tables: [("uid", 40), ("vid", 60), ("cat", 9), ("tag", 25)]
            .map(|(name, rows)| table(name, rows))
            .into(),
        tasks: vec!["ctr".into(), "cvr".into()],
        links: Vec::new(),
        plan: NetworkPlan {
            table_deviation: None,
            ..network(kind, 4, &[16, 8])
        },
    }
}

/// The arrays of an `.npz` file as NumPy writes it: stored, not compressed, the sizes as zip64 in the
/// extra field of each local header.
fn unzip(bytes: &[u8]) -> HashMap<String, Vec<f64>> {
    let number = |at: usize, n_bytes: usize| {
        let bytes = bytes[at..at + n_bytes].iter().rev();
        bytes.fold(0, |sum, &byte| sum << 8 | usize::from(byte))
    };
    let mut arrays = HashMap::new();
    let mut at = 0;
    while bytes[at..].starts_with(b"PK\x03\x04") {
        assert_eq!(number(at + 8, 2), 0, "a stored array");
        let (name_len, extra_len) = (number(at + 26, 2), number(at + 28, 2));
        let extra = at + 30 + name_len;
        let size = match number(at + 18, 4) {
            0xffff_ffff => number(extra + 12, 8),
            size => size,
        };
        let name = std::str::from_utf8(&bytes[at + 30..extra]).unwrap();
        let start = extra + extra_len;
        let array = parse_npy(&bytes[start..start + size]);
        arrays.insert(name.trim_end_matches(".npy").to_owned(), array);
        at = start + size;
    }
    arrays
}

/// The numbers of an `.npy` file of version 1, f64 or i64.
fn parse_npy(bytes: &[u8]) -> Vec<f64> {
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let words = bytes[start..].chunks_exact(8).map(|word| word.try_into());
    let words = words.map(Result::unwrap);
    match header {
        _ if header.contains("'<f8'") => words.map(f64::from_le_bytes).collect(),
        _ if header.contains("'<i8'") => words.map(|x| i64::from_le_bytes(x) as f64).collect(),
        _ => panic!("neither f8 nor i8: {header}"),
    }
}

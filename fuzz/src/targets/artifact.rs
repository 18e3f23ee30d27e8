//! A model on disk: its manifest, the manifest's checksum, its self-test and its weights.
//!
//! An input is a byte, the manifest, a zero byte, the self-test, a zero byte, and the weights. The checksums are
//! recomputed, so that mutated contents are read; each of the lowest bits of the first byte disables this for one
//! checksum.

mod seal;

use super::{Target, requests};
use crate::models;
use crate::mutate::Form;
use ncs_features::{Block, Column, IdSpace, Schema, Texts, Values};
use ncs_model::artifact::Artifact;
use ncs_model::{Heads, NetworkKind, Precision, Scorer, SelfTest};
use ncs_serve::compute::WorkerScratch;
use ncs_serve::rank_request::RankQuery;
use ncs_serve::version::Version;
use std::path::Path;
use tempfile::TempDir;

pub(super) const TARGET: Target = Target {
    name: "artifact",
    run,
    seeds,
    form: Form::Json,
    words: &[
        "format",
        "version",
        "spec",
        "of_task",
        "towers",
        "has_masks",
        "tensors",
        "schema",
        "fields",
        "tables",
        "tasks",
        "group",
        "plan",
        "kind",
        "dim",
        "hidden",
        "gram",
        "dropout",
        "rows",
        "table_deviation",
        "heads",
        "helper_of",
        "joint",
        "sparse_sharing",
        "single_task",
        "shared_bottom",
        "cross_stitch",
        "aitm",
        "mmoe",
        "ple",
        "experts",
        "levels",
        "shared",
        "full",
        "triangle",
        "none",
        "table",
        "pooling",
        "mean",
        "sum",
        "padded_mean",
        "separator",
        "max_values",
        "missing",
        "Hash",
        "Vocabulary",
        "Scaled",
        "Quantiles",
        "buckets",
        "function",
        "xxh3",
        "farm",
        "murmur3",
        "values",
        "log",
        "deviation",
        "boundaries",
        "population",
        "all",
        "where",
        "objective",
        "ratio",
        "focal",
        "member.0.dense",
        "member.1.dense",
        "member.0.table.0.ids",
        "mask.0.fc_0",
        "calibrators",
        "platt",
        "slope",
        "offset",
        "isotonic",
        "at",
        "to",
        "self_test",
        "columns",
        "scores",
        "lengths",
        "nulls",
        "type",
        "text",
        "int",
        "float",
        "user",
        "price",
        "ctr",
        "cvr",
        "data_offsets",
        "dtype",
        "F32",
        "U8",
    ],
    max_length: 24 << 10,
};

/// Maximum number of table rows that are loaded: a row takes four bytes before it is initialised, and
/// the user chooses their number.
const MAX_ROWS: usize = 1 << 20;

/// Creates a folder, in memory if possible.
pub(super) fn folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

thread_local! {
    static FOLDER: TempDir = folder().expect("a temporary folder");
}

fn run(input: &[u8]) -> Result<String, String> {
    let files = seal::files(input).ok_or("a part is missing")?;
    FOLDER.with(|folder| {
        files.write(folder.path()).expect("a temporary folder");
        read(folder.path())
    })
}

fn read(folder: &Path) -> Result<String, String> {
    let in_folder = folder.display().to_string();
    let without_folder = |error: String| error.replace(&in_folder, "");
    let artifact = Artifact::read(folder).map_err(|error| without_folder(error.to_string()))?;
    let n_rows = artifact.spec.tables.iter().map(|table| table.rows);
    if n_rows.fold(0, usize::saturating_add) > MAX_ROWS {
        return Ok("large tables".to_owned());
    }
    let version = Version::load(folder, &"feed".into(), 1, Precision::Single);
    let version = version.map_err(|error| without_folder(error.to_string()))?;
    let mut query = query(version.schema(), 1);
    let scores = version.score(&mut query, true, &mut WorkerScratch::new());
    let scores = scores.map_err(|error| error.message)?;
    requests::check(&version, &scores, query.candidates.n_rows);
    Ok(format!("{:?}", artifact.spec.plan.kind))
}

/// Returns candidates with a value for every column of the schema but those of the first `n_absent` fields.
fn query(schema: &Schema, n_absent: usize) -> RankQuery {
    let mut candidates = Block {
        n_rows: 5,
        columns: Vec::new(),
    };
    for field in schema.fields.iter().skip(n_absent) {
        if candidates.column(&field.column).is_none() {
            candidates.columns.push(Column {
                name: field.column.clone(),
                values: values(&schema.tables[field.table].ids),
                ..Column::default()
            });
        }
    }
    RankQuery {
        candidates,
        ..RankQuery::default()
    }
}

fn values(ids: &IdSpace) -> Values {
    match ids {
        IdSpace::Scaled { .. }
        | IdSpace::Quantiles { .. }
        | IdSpace::Piecewise(_)
        | IdSpace::Vector(_)
        | IdSpace::Rate(_) => Values::Float(vec![0.0, 1.5, -3.0, 7.0, 100.0]),
        IdSpace::Hash { .. }
        | IdSpace::Vocabulary { .. }
        | IdSpace::Cross(_)
        | IdSpace::Time(_) => {
            let mut texts = Texts::default();
            let each = ["v1", "", "7", "news|sport", "-"].into_iter();
            each.for_each(|text| texts.push(text.as_bytes()));
            Values::Text(texts)
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let kinds = [
        NetworkKind::SparseSharing,
        NetworkKind::SingleTask,
        NetworkKind::SharedBottom,
        NetworkKind::CrossStitch,
        NetworkKind::Mmoe { experts: 2 },
        NetworkKind::Ple {
            levels: 1,
            experts: 1,
            shared: 1,
        },
        NetworkKind::Aitm,
        NetworkKind::Linear,
    ];
    let heads = Heads {
        auxiliary_head_of: Some(1),
        joint: Some([0, 1]),
        takes: Some([0, 1]),
        late: vec![0],
        ..Heads::default()
    };
    let mut seeds: Vec<Vec<u8>> = kinds
        .map(|kind| seed(models::short_schema(), kind, Heads::default()))
        .to_vec();
    seeds.push(seed(models::schema(), NetworkKind::SparseSharing, heads));
    // One seed for each checksum that is not recomputed.
    let wrong_checksums = (0..5).map(|bit| {
        let mut seed = seeds[0].clone();
        seed[0] = 1 << bit;
        seed
    });
    let wrong_checksums: Vec<_> = wrong_checksums.collect();
    seeds.extend(wrong_checksums);
    seeds
}

fn seed(schema: Schema, kind: NetworkKind, heads: Heads) -> Vec<u8> {
    let folder = folder().expect("a temporary folder");
    let path = folder.path().join("model");
    let rows = query(&schema, 0).candidates;
    let mut artifact = models::artifact(schema, kind, heads);
    let scorer = Scorer::new(&artifact).expect("its own weights");
    artifact.self_test = SelfTest::record(&scorer, &rows);
    artifact
        .write(&path)
        .unwrap_or_else(|error| panic!("{error}"));
    seal::input(&path).expect("it was just written")
}

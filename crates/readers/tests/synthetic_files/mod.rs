//! Plans for the synthetic log, shared by the tests.
#![allow(
    dead_code,
    reason = "each test file is compiled on its own and uses a part of this"
)]

use ncs_features::*;
use ncs_readers::split::Part;
use ncs_readers::synthetic::{SyntheticPlan, write_log};
use ncs_readers::{DataPlan, Format, Reading, Split};
use std::path::{Path, PathBuf};

pub(crate) const FORMATS: [Format; 5] = [
    Format::Arrow,
    Format::Csv,
    Format::JsonLines,
    Format::Parquet,
    Format::TfRecord,
];

pub(crate) fn field(name: &str, table: usize) -> Field {
    Field {
        name: name.into(),
        column: name.into(),
        table,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    }
}

pub(crate) fn task(name: &str, population: Population, truth: Option<&str>) -> Task {
    Task {
        population,
        truth: truth.map(String::from),
        ..ncs_testkit::task(name)
    }
}

/// Returns a schema with every kind of id space, a list, nulls, true probabilities and a group.
pub(crate) fn schema() -> SchemaPlan {
    let vocabulary = || IdSpacePlan::Vocabulary {
        min_count: 2,
        max_size: None,
    };
    let hash = IdSpacePlan::Hash {
        buckets: 1000,
        function: HashFunction::Xxh3,
    };
    let spaces = [
        ("user", hash.clone()),
        ("category", vocabulary()),
        ("tags", vocabulary()),
        ("price", IdSpacePlan::Numeric(NumericPlan::Log)),
        (
            "hour",
            IdSpacePlan::Numeric(NumericPlan::Quantiles { buckets: 6 }),
        ),
        ("city", hash),
    ];
    let table = |(name, ids): (&str, IdSpacePlan)| TablePlan {
        name: name.into(),
        ids,
    };
    let mut fields: Vec<Field> = spaces
        .iter()
        .zip(0..)
        .map(|((name, _), t)| field(name, t))
        .collect();
    fields[2].pooling = Some(Pooling::Mean);
    fields[2].separator = Some('|');
    SchemaPlan {
        fields,
        tables: spaces.map(table).into(),
        tasks: vec![
            task("click", Population::All, Some("p_click")),
            task("conversion", Population::Where(0), Some("p_conversion")),
        ],
        group: Some("session".into()),
        rates: Default::default(),
    }
}

pub(crate) fn log(rows: u64) -> SyntheticPlan {
    SyntheticPlan {
        rows,
        click_rate: 0.3,
        conversion_rate: 0.3,
        ..SyntheticPlan::default()
    }
}

/// Writes `train` with the given number of rows and returns the file.
pub(crate) fn write(folder: &Path, format: Format, rows: u64) -> PathBuf {
    let files = write_log(&log(rows), folder, format, &[(Part::Train, rows)]).unwrap();
    files[0].path.clone()
}

/// Returns a plan that reads `train` in `folder` and keeps its cache there.
pub(crate) fn plan(folder: &Path, train: &str) -> DataPlan {
    DataPlan {
        train: vec![train.into()],
        valid: vec![],
        test: vec![],
        root: folder.into(),
        reading: Reading::default(),
        split: Split::Hash {
            column: "session".into(),
            valid: 0.2,
            test: 0.1,
            seed: 1,
        },
        cache: folder.join("cache"),
    }
}

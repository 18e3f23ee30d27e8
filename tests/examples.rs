//! The shipped examples and the shipped schema.

use std::path::{Path, PathBuf};

use ncs_features::{IdSpacePlan, Objective, Population};
use ncs_readers::{DataPlan, Split};
use ncs4cvr::run_file::{FileColumns, ListingError, RunFile, RunPlan, json_schema, list_columns};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run_files() -> Vec<PathBuf> {
    files_in("examples")
}

/// Run files with nothing but columns by kind, tasks and data.
fn untouched() -> Vec<PathBuf> {
    files_in("examples/untouched")
}

fn files_in(folder: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(project().join(folder)).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// Column lister without files: every column exists.
fn unseen(_: &DataPlan) -> Result<Vec<FileColumns>, ListingError> {
    Ok(Vec::new())
}

fn plan(name: &str) -> RunPlan {
    plan_of(&project().join("examples").join(name))
}

fn plan_of(path: &Path) -> RunPlan {
    let text = std::fs::read_to_string(path).unwrap();
    RunFile::parse(
        &path.display().to_string(),
        &text,
        path.parent().unwrap(),
        &[],
        &unseen,
    )
    .unwrap()
    .plan
}

#[test]
fn every_example_is_a_right_run_file() {
    assert_eq!((run_files().len(), untouched().len()), (6, 6));
    for path in [run_files(), untouched()].concat() {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = RunFile::parse(&path.display().to_string(), &text, project(), &[], &unseen);
        let file = file.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            file.notes.is_empty(),
            "{}: {:?}",
            path.display(),
            file.notes
        );
    }
}

#[test]
fn every_example_fits_its_data() {
    if !project().join("../shared/data").exists() {
        println!("skipped: ../shared is absent");
        return;
    }
    // Files of synthetic logs are generated on demand.
    let is_there = |path: &PathBuf| !path.ends_with("untouched/synthetic.toml");
    for path in [run_files(), untouched()]
        .concat()
        .into_iter()
        .filter(is_there)
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let file = RunFile::parse(&name, &text, path.parent().unwrap(), &[], &list_columns);
        if let Err(error) = file {
            panic!("{error}");
        }
    }
}

#[test]
fn the_papers_settings() {
    let plan = plan("tencent_video.toml");
    assert_eq!(plan.schema.fields.len(), 20);
    assert_eq!(
        plan.schema
            .fields
            .iter()
            .filter(|field| field.pooling.is_some())
            .count(),
        5
    );
    assert_eq!(plan.network.hidden, [512, 256, 128]);
    assert_eq!(plan.train.search.density, [0.2, 0.2]);
    let [ctr, cvr] = plan.schema.tasks.as_slice() else {
        panic!("two tasks")
    };
    assert_eq!(
        ctr.objective,
        Objective::Focal {
            alpha: 0.75,
            gamma: 2.0
        }
    );
    assert_eq!(
        (cvr.objective, cvr.population),
        (Objective::Ratio, Population::Where(0))
    );
    let split = Split::Hash {
        column: "seqnum".to_owned(),
        valid: 0.1,
        test: 0.2,
        seed: 1,
    };
    assert_eq!(plan.data.split, split);
}

#[test]
fn two_columns_share_one_id_space() {
    let schema = plan("ebnerd.toml").schema;
    let field = |name: &str| {
        schema
            .fields
            .iter()
            .find(|field| field.name == name)
            .unwrap()
    };
    let table = field("article_id").table;
    assert_eq!(field("history").table, table);
    assert_eq!(schema.tables[table].name, "article_id");
    let ids = IdSpacePlan::Vocabulary {
        min_count: 10,
        max_size: None,
    };
    assert_eq!(schema.tables[table].ids, ids);
    assert_eq!(schema.tables.len(), schema.fields.len() - 1);
}

#[test]
fn the_shipped_schemas_are_those_that_files_are_checked_against() {
    let check = |name: &str, expected: String| {
        let path = project().join(format!("schema/{name}.schema.json"));
        let shipped = std::fs::read_to_string(&path).unwrap();
        let remedy = format!("write it anew: ncs schema {name} > schema/{name}.schema.json");
        assert!(shipped == expected, "{remedy}");
    };
    check("run", json_schema());
    check("compare", ncs4cvr::compare::json_schema());
}

/// Columns of the sample data that are known only after the click.
#[test]
fn the_reference_page_is_that_of_the_schema() {
    let path = project().join("docs/run_file.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let remedy = "write it anew: ncs schema run --markdown > docs/run_file.md";
    assert!(page == ncs4cvr::run_file::reference(), "{remedy}");
}

#[test]
fn no_example_looks_into_the_future() {
    const LATER: [&str; 7] = [
        "read_seconds",
        "long_read",
        "watch_ratio",
        "complete",
        "cvrlabel",
        "pctr",
        "like",
    ];
    for path in [run_files(), untouched()].concat() {
        for field in plan_of(&path).schema.fields {
            let name = path.display();
            assert!(!LATER.contains(&&*field.column), "{name}: {}", field.column);
        }
    }
}

#[test]
fn untouched_run_files_set_nothing() {
    let keys = |table: &toml::Table| table.keys().cloned().collect::<Vec<String>>();
    for path in untouched() {
        let name = path.display().to_string();
        let printed: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        for key in keys(&printed) {
            let known = ["seed", "data", "columns", "tasks", "evaluation"];
            assert!(known.contains(&&*key), "{name}: {key}");
        }
        for (column, kind) in printed["columns"].as_table().unwrap() {
            // Added by ncs init: a number that is also used as a category.
            let is_value = kind.as_table().is_some_and(|table| {
                table["kind"].as_str() == Some("categorical")
                    && keys(table) == ["kind", "column"]
                    && Some(&**column)
                        == table["column"]
                            .as_str()
                            .map(|of| of.to_owned() + "_value")
                            .as_deref()
            });
            assert!(kind.is_str() || is_value, "{name}: {column}");
        }
        for (task, printed) in printed["tasks"].as_table().unwrap() {
            for key in keys(printed.as_table().unwrap()) {
                assert!(
                    ["label", "where", "truth"].contains(&&*key),
                    "{name}: {task}.{key}"
                );
            }
        }
        if let Some(evaluation) = printed.get("evaluation") {
            assert_eq!(keys(evaluation.as_table().unwrap()), ["group"], "{name}");
        }
    }
}

use super::*;
use crate::telemetry::Telemetry;
use ncs_features::distribution::{Distribution, Distributions};
use ncs_features::{Column, Field, IdSpace, Objective, Population, Table, Task, Values};
use ncs_model::artifact::WeightSet;
use ncs_model::kernels::SimdLevel;
use ncs_model::{CounterRng, Gram, Heads, Model, NetworkKind, NetworkPlan, SelfTest, Spec};

/// Returns a schema with one scaled number.
fn schema() -> Schema {
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: vec![Field {
            name: "price".into(),
            column: "price".into(),
            table: 0,
            pooling: None,
            separator: None,
            max_values: None,
            beside: Default::default(),
            missing: vec![],
        }],
        tables: vec![Table {
            name: "price".into(),
            ids: IdSpace::Scaled {
                log: false,
                mean: 1.0,
                deviation: 2.0,
            },
            range: None,
        }],
        tasks: vec![Task {
            name: "ctr".into(),
            label: "click".into(),
            population: Population::All,
            objective: Objective::CrossEntropy,
            weight: 1.0,
            truth: None,
            row_rules: Default::default(),
        }],
        group: None,
    }
}

fn version() -> Version {
    let scorer = Scorer::new(&artifact(1.0)).expect("its own weights");
    Version::new(Arc::new(scorer), &"feed".into(), 1, "")
}

/// Returns a model with initial weights times `scale`.
fn artifact(scale: f32) -> Artifact {
    let schema = schema();
    let plan = NetworkPlan {
        kind: NetworkKind::SharedBottom,
        dim: 2,
        hidden: vec![3],
        gram: Gram::Full,
        dropout: 0.0,
        table_deviation: Some(0.5),
        heads: Heads::default(),
    };
    let spec = Spec::of(&schema, &plan);
    let mut model: Model = Model::new(spec.clone(), CounterRng::new(1, "weights"));
    model.network_mut(0).init_all_rows();
    let mut weights = model.network(0).weights();
    weights.dense.iter_mut().for_each(|weight| *weight *= scale);
    Artifact::new(
        Arc::new(schema),
        spec,
        vec![0],
        vec![WeightSet {
            network: 0,
            weights: Arc::new(weights),
        }],
    )
}

#[test]
fn a_model_is_refused_in_half_precision_if_its_scores_change() {
    let prices = Block {
        n_rows: 50,
        columns: vec![Column {
            name: "price".into(),
            values: Values::Float((0..50).map(|i| f64::from(i) / 5.0 - 5.0).collect()),
            ..Column::default()
        }],
    };
    let load = |scale: f32, has_test: bool| {
        let mut artifact = artifact(scale);
        let scorer = Scorer::new(&artifact).expect("its own weights");
        let test = SelfTest::record(&scorer, &prices);
        artifact.self_test = test.filter(|_| has_test);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("model");
        artifact.write(&folder).unwrap();
        let single = Version::load(&folder, &"feed".into(), 1, Precision::Single);
        assert!(single.is_ok(), "{single:?}");
        Version::load(&folder, &"feed".into(), 1, Precision::Half).map(drop)
    };
    let check = |scale, has_test, expected: &str| {
        let error = load(scale, has_test).unwrap_err().to_string();
        assert!(error.contains("--half: "), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    if !SimdLevel::best().has_half() {
        return check(1.0, true, "no bfloat16 instructions");
    }
    assert!(load(1.0, true).is_ok());
    check(1.0, false, "no self-test");
    // Larger weights give larger rounding errors, until the probabilities are all 0 or 1.
    let refusals = [2.0, 4.0, 8.0, 16.0].map(|scale| load(scale, true).err());
    let texts: Vec<String> = refusals.iter().flatten().map(ToString::to_string).collect();
    let is_told = |text: &String| text.contains("more than 2e-3; score this model in single");
    assert!(!texts.is_empty() && texts.iter().all(is_told), "{texts:?}");
}

fn score_price(price: f64, in_context: bool) -> Result<Scores, ApiError> {
    let block = |n_rows, prices: Vec<f64>| Block {
        n_rows,
        columns: vec![Column {
            name: "price".into(),
            values: Values::Float(prices),
            ..Column::default()
        }],
    };
    let mut query = RankQuery {
        candidates: block(2, vec![1.5, price]),
        ..RankQuery::default()
    };
    if in_context {
        query.context = block(1, vec![price]);
        query.candidates.columns.clear();
    }
    version().score(&mut query, false, &mut WorkerScratch::new())
}

#[test]
fn a_number_that_overflows_is_refused_and_its_column_named() {
    for price in [1e300, -1e300] {
        for (in_context, candidate) in [(false, 2), (true, 1)] {
            let refusal = score_price(price, in_context).unwrap_err();
            let expected =
                format!("candidate {candidate}: column \"price\" holds a number too far");
            assert!(refusal.message.starts_with(&expected), "{refusal}");
            assert_eq!(refusal.kind, ErrorKind::Invalid);
        }
    }
    let scores = score_price(1e4, false).unwrap();
    assert!(
        scores.calibrated[0]
            .iter()
            .all(|score| (0.0..=1.0).contains(score))
    );
}

/// Loads a model whose training had numbers from -1 to 1 deviation, and scores of one half.
fn compared(folder: &Path) -> Version {
    let numbers = (0..1000).map(|i| i as f32 / 500.0 - 1.0).collect();
    let mut artifact = artifact(1.0);
    artifact.distributions = Some(Arc::new(Distributions {
        rows: 1000,
        columns: vec![Distribution::of_numbers(numbers)],
        score_rows: 1000,
        scores: vec![Distribution::of_numbers(vec![0.5; 1000])],
    }));
    artifact.write(folder).unwrap();
    Version::load(folder, &"feed".into(), 1, Precision::Single).unwrap()
}

#[test]
fn values_are_compared_with_those_of_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let index = |in_context: bool| {
        let version = compared(&folder.path().join(in_context.to_string()));
        let telemetry = Telemetry::new(None);
        version.count_by(&telemetry);
        let block = |n_rows: usize, prices: Vec<f64>| Block {
            n_rows,
            columns: vec![Column {
                name: "price".into(),
                values: Values::Float(prices),
                ..Column::default()
            }],
        };
        // One request in eight is counted.
        for _ in 0..3 * COUNT_EVERY {
            // The deviation is 2, the mean 1.
            let prices = (0..200).map(|i| 1.0 + 2.0 * (f64::from(i) / 100.0 - 1.0));
            let mut query = RankQuery {
                candidates: block(200, prices.collect()),
                ..RankQuery::default()
            };
            if in_context {
                query.candidates.columns.clear();
                query.context = block(1, vec![2.9]);
            }
            let scores = version.score(&mut query, false, &mut WorkerScratch::new());
            version.count_scores(&scores.unwrap());
        }
        let metrics = telemetry.metrics();
        let of = |start: &str| {
            let line = metrics.lines().find(|line| line.starts_with(start));
            let line = line.unwrap_or_else(|| panic!("{start} is not in {metrics}"));
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(of("ncs_score_psi{model=\"feed\",version=\"1\",task=\"ctr\"}") > 0.25);
        of("ncs_column_psi{model=\"feed\",version=\"1\",column=\"price\"}")
    };
    assert!(index(false) < 0.01, "the same numbers");
    // The context's number is that of all 200 candidates.
    assert!(index(true) > 2.0, "one number");
}

/// A request of two candidates with this price in the context.
fn of_context(price: f64) -> RankQuery {
    let column = Column {
        name: "price".into(),
        values: Values::Float(vec![price]),
        ..Column::default()
    };
    RankQuery {
        context: Block {
            n_rows: 1,
            columns: vec![column],
        },
        candidates: Block {
            n_rows: 2,
            ..Block::default()
        },
        ..RankQuery::default()
    }
}

/// Versions share a cache: each finds only its own contexts, and only equal ones.
#[test]
fn contexts_that_come_again_are_not_computed_again() {
    let cache = Arc::new(ContextCache::new(1 << 20));
    let version = |scale| {
        let scorer = Scorer::new(&artifact(scale)).expect("its own weights");
        Version::new(Arc::new(scorer), &"feed".into(), 1, "")
    };
    let mut scratch = WorkerScratch::new();
    let mut score = |version: &Version, price| {
        let scores = version.score(&mut of_context(price), false, &mut scratch);
        scores.unwrap().raw
    };
    let mut expected_counts = [0, 0];
    for scale in [1.0, 3.0] {
        let (plain, cached) = (
            version(scale),
            version(scale).with_context_cache(cache.clone()),
        );
        for (price, is_kept) in [(2.0, false), (2.0, true), (2.5, false), (2.0, true)] {
            assert_eq!(score(&cached, price), score(&plain, price));
            expected_counts[usize::from(!is_kept)] += 1;
            assert_eq!(cache.counts(), expected_counts);
        }
    }
    assert!(cache.n_bytes() > 0);
    // More contexts than fit.
    let small = Arc::new(ContextCache::new(4096));
    let cached = version(1.0).with_context_cache(small.clone());
    (0..1000).for_each(|price| drop(score(&cached, price.into())));
    assert_eq!(small.counts(), [0, 1000]);
    assert!(small.n_bytes() <= 4096);
}

#[test]
fn declared_context_columns_are_prepared_when_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let contexts = |declared: &[&str]| {
        let mut artifact = artifact(1.0);
        artifact.context_columns = declared.iter().map(|&name| name.to_owned()).collect();
        let folder = folder.path().join(declared.len().to_string());
        artifact.write(&folder).unwrap();
        let read = Artifact::read(&folder).map(|read| read.context_columns);
        let version = Version::load(&folder, &"feed".into(), 1, Precision::Single);
        (
            read.ok(),
            version.ok().map(|version| version.rankers.contexts()),
        )
    };
    assert_eq!(contexts(&[]), (Some(vec![]), Some(vec![])));
    let (read, prepared) = contexts(&["price"]);
    assert_eq!(
        (read, prepared),
        (Some(vec!["price".into()]), Some(vec![vec![0]]))
    );
    assert_eq!(contexts(&["price", "colour"]), (None, None));
}

//! The requests: one user and 500 candidates, 20 columns of which ten belong to the user, values with a Zipf
//! distribution as in `tools/bench/workload.py`; and their schema.

use ncs_features::{
    Block, Column, Field, HashFunction, IdSpace, Objective, Pooling, Population, Schema, Table,
    Task, Texts, Values,
};
use ncs_model::CounterRng;
use ncs_serve::rank_request::{ModelSelector, RankQuery};
use std::str::FromStr;

pub(crate) const N_SINGLE: usize = 15;
pub(crate) const N_LISTS: usize = 5;
pub(crate) const N_FIELDS: usize = N_SINGLE + N_LISTS;
pub(crate) const LIST_LENGTH: usize = 6;
/// Number of candidates of a request by default.
pub(crate) const N_CANDIDATES: usize = 500;

/// Number of different requests, which are sent in turn.
pub(crate) const N_REQUESTS: usize = 64;

/// Name of the model in the server.
pub(crate) const MODEL: &str = "paper";

/// Number of single-valued user columns; all lists belong to the user too.
const N_USER_SINGLE: usize = 5;

/// Number of different values of a column.
const N_VALUES: u64 = 1_000_000;

/// Rows of a table, without the row for missing values.
const BUCKETS: u32 = 100_000;

/// Type of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Integers,
    Strings,
}

impl FromStr for Form {
    type Err = ();

    fn from_str(text: &str) -> Result<Form, ()> {
        match text {
            "integers" => Ok(Form::Integers),
            "strings" => Ok(Form::Strings),
            _ => Err(()),
        }
    }
}

/// The values of one column in one request.
pub(crate) struct RawColumn {
    pub(crate) name: String,
    pub(crate) values: Vec<u64>,
    /// True if it has a list of [`LIST_LENGTH`] values per row.
    pub(crate) is_list: bool,
}

impl RawColumn {
    /// Returns the values as texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|value| format!("v{value}"))
    }

    /// Returns the values as numbers.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i64> {
        self.values.iter().map(|&value| value as i64)
    }

    fn column(&self, form: Form) -> Column {
        let texts = || {
            let mut texts = Texts::default();
            self.texts().for_each(|text| texts.push(text.as_bytes()));
            texts
        };
        Column {
            name: self.name.clone(),
            values: match form {
                Form::Integers => Values::Int(self.integers().collect()),
                Form::Strings => Values::Text(texts()),
            },
            offsets: self.is_list.then(|| vec![0, self.values.len() as u32]),
            nulls: Vec::new(),
        }
    }
}

/// A request, independent of its format.
pub(crate) struct Request {
    pub(crate) context: Vec<RawColumn>,
    pub(crate) candidates: Vec<RawColumn>,
}

impl Request {
    /// Generates request `number` with so many candidates; deterministic.
    pub(crate) fn new(number: usize, n_candidates: usize) -> Request {
        let rng = CounterRng::new(number as u64, "requests");
        let is_user = |field: &usize| is_user_field(*field);
        let column = |field: usize| raw_column(rng.at(field as u64), field, n_candidates);
        Request {
            context: (0..N_FIELDS).filter(is_user).map(column).collect(),
            candidates: (0..N_FIELDS)
                .filter(|field| !is_user(field))
                .map(column)
                .collect(),
        }
    }

    /// Generates all requests.
    pub(crate) fn all(n_candidates: usize) -> Vec<Request> {
        let request = |number| Request::new(number, n_candidates);
        (0..N_REQUESTS).map(request).collect()
    }

    /// Returns the number of candidates.
    pub(crate) fn n_candidates(&self) -> usize {
        self.candidates[0].values.len()
    }

    /// Returns the request as parsed by the server.
    pub(crate) fn query(&self, form: Form) -> RankQuery {
        let columns = |raw: &[RawColumn]| raw.iter().map(|raw| raw.column(form)).collect();
        RankQuery {
            model: ModelSelector {
                name: Some(MODEL.to_owned()),
                ..ModelSelector::default()
            },
            context: Block {
                n_rows: 1,
                columns: columns(&self.context),
            },
            candidates: Block {
                n_rows: self.n_candidates(),
                columns: columns(&self.candidates),
            },
            ..RankQuery::default()
        }
    }
}

/// Returns true if a field belongs to the user.
pub(crate) fn is_user_field(field: usize) -> bool {
    !(N_USER_SINGLE..N_SINGLE).contains(&field)
}

fn raw_column(rng: CounterRng, field: usize, n_candidates: usize) -> RawColumn {
    let is_list = field >= N_SINGLE;
    let n = match (is_list, is_user_field(field)) {
        (true, _) => LIST_LENGTH,
        (false, true) => 1,
        (false, false) => n_candidates,
    };
    RawColumn {
        name: name(field),
        values: (0..n as u64).map(|i| value(rng.uniform(i))).collect(),
        is_list,
    }
}

/// Returns a value whose rank is Zipf-distributed, with ranks scattered over the values.
fn value(uniform: f64) -> u64 {
    let rank = (N_VALUES as f64).powf(uniform) as u64 - 1;
    rank.wrapping_mul(2_654_435_761) % N_VALUES
}

fn name(field: usize) -> String {
    format!("field_{field}")
}

/// Returns the schema: 20 columns, each hashed into a table of its own, and two tasks.
pub(crate) fn schema() -> Schema {
    let field = |number: usize| Field {
        name: name(number),
        column: name(number),
        table: number,
        pooling: (number >= N_SINGLE).then_some(Pooling::Mean),
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let table = |number: usize| Table {
        name: name(number),
        ids: IdSpace::Hash {
            buckets: BUCKETS,
            function: HashFunction::Xxh3,
            unknown: false,
        },
        range: None,
    };
    let task = |name: &str, population| Task {
        name: name.into(),
        label: format!("is_{name}"),
        population,
        objective: Objective::CrossEntropy,
        weight: 1.0,
        truth: None,
        row_rules: Default::default(),
    };
    Schema {
        value_rule: ncs_features::ValueRule::CURRENT,
        fields: (0..N_FIELDS).map(field).collect(),
        tables: (0..N_FIELDS).map(table).collect(),
        tasks: vec![
            task("ctr", Population::All),
            task("cvr", Population::Where(0)),
        ],
        group: None,
    }
}

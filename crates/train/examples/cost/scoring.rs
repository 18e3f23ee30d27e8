//! Requests: one user and some candidates, both tasks.

use crate::arguments::Arguments;
use crate::base;
use crate::clock::median_cost;
use crate::paper::{self, LIST_LENGTH, N_LISTS, N_SINGLE, Size};
use ncs_features::Batch;
use ncs_model::{Model, RankBuffers, Ranker, Scorer};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;

/// These single fields, and all lists, are the user's and the same for every candidate.
const N_USER_SINGLE: usize = 5;

/// A record for each number of candidates.
pub(crate) fn score(arguments: &Arguments) -> Vec<Value> {
    let one = |&candidates: &usize| score_one(arguments, candidates);
    arguments.candidates.iter().map(one).collect()
}

fn score_one(arguments: &Arguments, candidates: usize) -> Value {
    let size = Size {
        batch: candidates,
        ..arguments.size
    };
    let request = request(size);
    let mut model = paper::model(size, arguments.density);
    model.network_mut(0).init_rows_of(&request);
    let scorer = frozen(size, &model);
    let user: Vec<usize> = (0..N_USER_SINGLE)
        .chain(N_SINGLE..N_SINGLE + N_LISTS)
        .collect();
    let ranker = Ranker::new(&Arc::new(scorer), &user).expect("a stack of layers");
    let context = request.select(&[0]);
    let mut buffers = RankBuffers::default();
    let mut scores = vec![Vec::new(); 2];
    let work = || {
        ranker.score(&context, &request, &mut buffers, &mut scores);
        black_box(&scores);
    };
    let calls = (2000 / (candidates + 40)).max(1);
    let cost = median_cost(work, arguments.samples, 3, calls);
    let mut record = base(arguments, cost, candidates);
    record["candidates"] = json!(candidates);
    record
}

/// The candidates as rows, the user's ids in each.
fn request(size: Size) -> Batch {
    let mut batch = paper::batch(size, 0);
    for field in &mut batch.fields[..N_USER_SINGLE] {
        let first = field.ids[0];
        field.ids.fill(first);
    }
    for field in &mut batch.fields[N_SINGLE..] {
        let first = field.ids[..LIST_LENGTH].to_vec();
        let rows = field.ids.chunks_exact_mut(LIST_LENGTH);
        rows.for_each(|row| row.copy_from_slice(&first));
    }
    batch
}

fn frozen(size: Size, model: &Model) -> Scorer {
    let artifact = ncs_testkit::artifact(paper::schema(size), model);
    Scorer::new(&artifact).expect("the weights are of this network")
}

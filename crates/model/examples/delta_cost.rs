//! Sizes and times of a delta beside the whole model: a table of hashed ids of which some rows changed.
//!
//! ```text
//! cargo run --release -p ncs-model --example delta_cost -- [ROWS] [SHARE] [FOLDER]
//! ```
//!
//! Files come from the page cache. Each time is the least of three.

use ncs_features::{Field, HashFunction, IdSpace, Schema, Table};
use ncs_model::artifact::{Artifact, Delta, DeltaDraft, WeightSet};
use ncs_model::{CounterRng, Model, NetworkKind, Scorer, SparseRows, Spec};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIM: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: u32 = arguments
        .next()
        .map_or(Ok(10_000_000), |text| text.parse())?;
    let share: f64 = arguments.next().map_or(Ok(0.01), |text| text.parse())?;
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join("delta_cost");
    let [parent, child] = ["parent", "child"].map(|name| folder.join(name));
    println!("{rows} rows of {DIM}, {} % changed", 100.0 * share);
    let before = model(rows);
    before.write(&parent)?;
    let after = changed(&before, share);
    drop(before);
    let (made, draft) = timed(|| DeltaDraft::between(&after, &parent, None))?;
    after.write_with(&child, |folder| draft.write(folder))?;
    let bytes = |name: &str| Ok::<_, Box<dyn Error>>(std::fs::metadata(child.join(name))?.len());
    let (whole, delta) = (bytes("weights.safetensors")?, bytes("delta.safetensors")?);
    println!(
        "bytes: whole {whole}, delta {delta} ({:.2} %)",
        100.0 * delta as f64 / whole as f64
    );
    println!("compare with the parent: {made:.2?}");
    drop(draft);
    drop(after);
    loads(&parent, &child)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Loads the child whole, and from its parent in memory.
fn loads(parent: &Path, child: &Path) -> Result<(), Box<dyn Error>> {
    let serving = scorer(parent)?;
    let (mut whole, mut updated) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let (time, _) = timed(|| scorer(child))?;
        whole = whole.min(time);
        let (time, _) = timed(|| {
            let delta = Delta::read(child)?.ok_or("no delta")?;
            Ok::<_, Box<dyn Error>>(serving.updated(child, &delta)?.scorer)
        })?;
        updated = updated.min(time);
    }
    println!("load: whole {whole:.2?}, by the delta {updated:.2?}");
    Ok(())
}

fn scorer(folder: &Path) -> Result<Scorer, Box<dyn Error>> {
    Ok(Scorer::new(&Artifact::read(folder)?).ok_or("other weights")?)
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(Duration, T), E> {
    let began = Instant::now();
    let done = work()?;
    Ok((began.elapsed(), done))
}

/// Returns a model of one hashed column whose rows are all initialised.
fn model(rows: u32) -> Artifact {
    let schema = Arc::new(schema(rows));
    let spec = Spec::of(
        &schema,
        &ncs_testkit::network(NetworkKind::SharedBottom, DIM, &[64, 32]),
    );
    let mut weights = Model::<f32>::new(spec.clone(), CounterRng::new(1, "weights"))
        .network(0)
        .weights();
    let rng = CounterRng::new(2, "rows");
    let values = (0..u64::from(rows) * DIM as u64).map(|i| rng.bits(i) as i32 as f32 * 1e-10);
    weights.tables = vec![SparseRows {
        ids: (0..rows).collect(),
        values: values.collect(),
    }];
    let weight_sets = vec![WeightSet {
        network: 0,
        weights: Arc::new(weights),
    }];
    Artifact::new(schema, spec, vec![0, 0], weight_sets)
}

/// Returns the model with other layers and with a share of its rows changed, spread evenly.
fn changed(model: &Artifact, share: f64) -> Artifact {
    let mut model = model.clone();
    let weights = Arc::make_mut(&mut model.weight_sets[0].weights);
    weights.dense.iter_mut().for_each(|x| *x += 0.01);
    let every = (1.0 / share).round().max(1.0) as usize;
    let rows = weights.tables[0].values.to_mut().chunks_exact_mut(DIM);
    for row in rows.step_by(every) {
        row.iter_mut().for_each(|x| *x += 0.01);
    }
    model
}

fn schema(rows: u32) -> Schema {
    let field = Field {
        name: "item".into(),
        column: "item".into(),
        table: 0,
        pooling: None,
        separator: None,
        max_values: None,
        beside: Default::default(),
        missing: vec![],
    };
    let ids = IdSpace::Hash {
        buckets: rows,
        function: HashFunction::Xxh3,
        unknown: false,
    };
    Schema {
        value_rule: ncs_features::ValueRule::Verbatim,
        fields: vec![field],
        tables: vec![Table {
            name: "item".into(),
            ids,
            range: None,
        }],
        tasks: ["ctr", "cvr"].map(ncs_testkit::task).into(),
        group: None,
    }
}

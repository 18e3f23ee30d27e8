//! One network of a frozen model: its tables, its input, and the layers that run for each subnet.

use crate::ExportError;
use crate::builder::{Elements, GraphBuilder, Value, int, ints};
use crate::fields::FieldValue;
use ncs_model::graph::{Graph, Op};
use ncs_model::{FrozenNetwork, Scorer, Spec, Subnet, Table};

/// A table in the graph.
#[derive(Clone, Debug)]
struct Lookup {
    /// For each id, its row in `rows`; without it, the id itself.
    places: Option<Value>,
    /// `[rows, dim]`
    rows: Value,
}

/// Adds a network and returns the logits of its tasks and their further outputs, `float [batch, 1]`, by the head's number.
pub(crate) fn logits(
    graph: &mut GraphBuilder,
    scorer: &Scorer,
    frozen: &FrozenNetwork,
    name: &str,
    fields: &[FieldValue],
) -> Result<Vec<(usize, Value)>, ExportError> {
    let x = input(graph, scorer.spec(), frozen, name, fields)?;
    let mut logits = Vec::new();
    let mut tasks = frozen.tasks.iter();
    for subnet in &frozen.subnets {
        let of_subnet: Vec<usize> = tasks.by_ref().take(subnet.heads.len()).copied().collect();
        let mut run = SubnetRun {
            graph,
            scorer,
            frozen,
            name: match of_subnet[..] {
                [head] => format!("{name}{}/", scorer.spec().head_name(head)),
                _ => name.to_owned(),
            },
            task: of_subnet[0],
        };
        let heads = run.heads(subnet, &x);
        logits.extend(of_subnet.into_iter().zip(heads));
    }
    Ok(logits)
}

/// Adds the folded input of the first layer: the upper triangle of the Gram matrix, the field vectors, the numbers.
fn input(
    graph: &mut GraphBuilder,
    spec: &Spec,
    frozen: &FrozenNetwork,
    name: &str,
    fields: &[FieldValue],
) -> Result<Value, ExportError> {
    let mut lookups: Vec<Option<Lookup>> = vec![None; spec.tables.len()];
    let mut vectors = Vec::new();
    for f in spec.vector_fields() {
        let table = spec.fields[f].table;
        let made = match lookups[table].take() {
            Some(lookup) => lookup,
            None => lookup(graph, spec, frozen, table, name)?,
        };
        vectors.push(vector(
            graph,
            &fields[f],
            &made,
            &format!("{name}vector_{f}"),
        ));
        lookups[table] = Some(made);
    }
    let numbers = fields.iter().filter_map(|field| match field {
        FieldValue::Numbers(numbers) => Some(numbers.clone()),
        _ => None,
    });
    let numbers: Vec<Value> = numbers.collect();
    let mut parts = Vec::new();
    if !vectors.is_empty() {
        let vectors = graph.concat(&format!("{name}vectors"), &vectors);
        if spec.interaction().folded_gram() > 0 {
            parts.push(gram(graph, spec, &vectors, name));
        }
        parts.push(vectors);
    }
    parts.extend(numbers);
    Ok(graph.concat(&format!("{name}input"), &parts))
}

/// Adds a table: its seen rows behind a row of zeros, and the row of each id, where that is the smaller; else a row
/// for each id.
fn lookup(
    graph: &mut GraphBuilder,
    spec: &Spec,
    frozen: &FrozenNetwork,
    table: usize,
    name: &str,
) -> Result<Lookup, ExportError> {
    let about = &spec.tables[table];
    let values: &Table<f32> = &frozen.network.tables[table];
    let (n_ids, dim) = (values.n_rows(), values.dim());
    // Ids that training has not seen have the row for unknown ids, as in the scorer.
    let unseen = about.unknown.map_or(0, |id| values.slot(id));
    let slot = |id: u32| match values.slot(id) {
        0 => unseen,
        slot => slot,
    };
    let ids = 0..n_ids as u32;
    let n_rows = values.n_initialised() + 1;
    let rows = values.rows();
    let flat = |slots: &mut dyn Iterator<Item = u32>| -> Vec<f32> {
        slots
            .flat_map(|slot| rows.row(slot).iter().copied())
            .collect()
    };
    let title = |part: &str| format!("{name}{}/{part}", about.name);
    if n_ids * dim <= n_ids + n_rows * dim {
        let rows = flat(&mut ids.map(slot));
        return Ok(Lookup {
            places: None,
            rows: graph.floats(&title("rows"), &[n_ids, dim], rows),
        });
    }
    let places: Result<Vec<i32>, _> = ids.map(|id| i32::try_from(slot(id))).collect();
    let places = places.map_err(|_| ExportError::Refused {
        what: format!("table \"{}\" has more than 2^31 rows", about.name),
        remedy: "train with fewer buckets for it".to_owned(),
    })?;
    let places = graph.constant(&title("places"), &[n_ids], Elements::I32(places));
    let rows = flat(&mut (0..n_rows as u32));
    Ok(Lookup {
        places: Some(places),
        rows: graph.floats(&title("rows"), &[n_rows, dim], rows),
    })
}

impl Lookup {
    /// Looks up the vectors of ids, `[..., dim]`.
    fn gather(&self, graph: &mut GraphBuilder, ids: &Value, name: &str) -> Value {
        let place = match &self.places {
            None => ids.clone(),
            Some(places) => graph.node("Gather", &format!("{name}/place"), &[places, ids]),
        };
        graph.node(
            "Gather",
            &format!("{name}/looked_up"),
            &[&self.rows, &place],
        )
    }
}

/// Returns the vector of a field, `[batch, dim]`.
fn vector(graph: &mut GraphBuilder, field: &FieldValue, lookup: &Lookup, name: &str) -> Value {
    match field {
        FieldValue::Row(ids) => lookup.gather(graph, ids, name),
        FieldValue::Rows { ids, weights } => {
            let rows = lookup.gather(graph, ids, name);
            let pooled = graph.node("MatMul", &format!("{name}/pooled"), &[weights, &rows]);
            let axis = graph.integers(&[1]);
            graph.node("Squeeze", &format!("{name}/vector"), &[&pooled, &axis])
        }
        FieldValue::Scaled { missing, z } => {
            let [of_missing, factor, offset] = [0, 1, 2].map(|id| {
                let id = graph.integers(&[id]);
                lookup.gather(graph, &id, name)
            });
            let scaled = graph.node("Mul", &format!("{name}/scaled"), &[z, &factor]);
            let scaled = graph.node("Add", &format!("{name}/known"), &[&scaled, &offset]);
            graph.node(
                "Where",
                &format!("{name}/vector"),
                &[missing, &of_missing, &scaled],
            )
        }
        FieldValue::Projected {
            missing,
            vector,
            length,
        } => {
            let numbers: Vec<i64> = (1..=i64::from(*length)).collect();
            let [of_missing, matrix, offset] = [vec![0], numbers, vec![i64::from(*length) + 1]]
                .map(|ids| {
                    let ids = graph.integers(&ids);
                    lookup.gather(graph, &ids, name)
                });
            let product = graph.node("MatMul", &format!("{name}/projected"), &[vector, &matrix]);
            let known = graph.node("Add", &format!("{name}/known"), &[&product, &offset]);
            graph.node(
                "Where",
                &format!("{name}/vector"),
                &[missing, &of_missing, &known],
            )
        }
        FieldValue::Numbers(_) => unreachable!("numbers have no vector"),
    }
}

/// Returns the upper triangle of the Gram matrix of the vectors, row by row, `[batch, fields (fields + 1) / 2]`.
fn gram(graph: &mut GraphBuilder, spec: &Spec, vectors: &Value, name: &str) -> Value {
    let interaction = spec.interaction();
    let (fields, dim) = (interaction.fields as i64, interaction.dim as i64);
    let shape = graph.integers(&[0, fields, dim]);
    let matrix = graph.node(
        "Reshape",
        &format!("{name}gram/vectors"),
        &[vectors, &shape],
    );
    let matrix = if interaction.shared_dim < interaction.dim {
        let (start, end) = (
            graph.integers(&[0]),
            graph.integers(&[interaction.shared_dim as i64]),
        );
        let axis = graph.integers(&[2]);
        graph.node(
            "Slice",
            &format!("{name}gram/shared"),
            &[&matrix, &start, &end, &axis],
        )
    } else {
        matrix
    };
    let turned = vec![ints("perm", &[0, 2, 1])];
    let turned = graph.node_with(
        "Transpose",
        &format!("{name}gram/turned"),
        &[&matrix],
        turned,
    );
    let products = graph.node(
        "MatMul",
        &format!("{name}gram/products"),
        &[&matrix, &turned],
    );
    let shape = graph.integers(&[0, fields * fields]);
    let products = graph.node("Reshape", &format!("{name}gram/flat"), &[&products, &shape]);
    let upper = (0..fields).flat_map(|i| (i..fields).map(move |j| i * fields + j));
    let upper = graph.integers(&upper.collect::<Vec<_>>());
    let axis = vec![int("axis", 1)];
    graph.node_with(
        "Gather",
        &format!("{name}gram/triangle"),
        &[&products, &upper],
        axis,
    )
}

/// The layers and heads of one subnet.
struct SubnetRun<'a> {
    graph: &'a mut GraphBuilder,
    scorer: &'a Scorer,
    frozen: &'a FrozenNetwork,
    /// Prefix of its names.
    name: String,
    /// A task of the subnet: the one whose mask it runs under.
    task: usize,
}

impl SubnetRun<'_> {
    /// Adds the operations on which the heads depend, and returns their logits.
    fn heads(&mut self, subnet: &Subnet, x: &Value) -> Vec<Value> {
        let operations: &Graph = self.frozen.network.graph();
        let live = operations.live(&subnet.heads);
        // Nodes that no head depends on have no name.
        let mut values: Vec<Value> = vec![x.clone()];
        for (n, node) in operations.nodes.iter().enumerate().skip(1) {
            let value = if live[n] {
                self.operation(n, &node.op, &values)
            } else {
                Value::new()
            };
            values.push(value);
        }
        let head = |&head: &usize| self.head(head, &values[operations.heads[head]]);
        subnet.heads.iter().map(head).collect()
    }

    fn operation(&mut self, n: usize, op: &Op, values: &[Value]) -> Value {
        let name = format!("{}node_{n}", self.name);
        match op {
            Op::Input => values[0].clone(),
            &Op::Layer {
                from,
                layer,
                rectify,
            } => self.layer(layer, &values[from], rectify),
            Op::Softmax { from } => {
                let axis = vec![int("axis", 1)];
                self.graph
                    .node_with("Softmax", &name, &[&values[*from]], axis)
            }
            Op::Mix { gate, parts } => {
                let sizes = self.graph.integers(&vec![1; parts.len()]);
                let axis = vec![int("axis", 1)];
                let gates = self.graph.nodes(
                    "Split",
                    &format!("{name}/gates"),
                    &[&values[*gate], &sizes],
                    parts.len(),
                    axis,
                );
                let parts: Vec<Value> = parts.iter().map(|&part| values[part].clone()).collect();
                self.weighted_sum(&name, &gates, &parts)
            }
            Op::Stitch { parts, stitch } => {
                let network = &self.frozen.network;
                let weights = &network.dense[network.layout.stitches[*stitch].clone()];
                let weights = weights
                    .iter()
                    .map(|&weight| self.graph.floats("stitch", &[], vec![weight]));
                let weights: Vec<Value> = weights.collect();
                let parts: Vec<Value> = parts.iter().map(|&part| values[part].clone()).collect();
                self.weighted_sum(&name, &weights, &parts)
            }
            Op::Sigmoid { from, scale } => {
                let y = self
                    .graph
                    .node("Sigmoid", &format!("{name}/sigmoid"), &[&values[*from]]);
                let scale = self.graph.floats("scale", &[], vec![*scale as f32]);
                self.graph.node("Mul", &name, &[&y, &scale])
            }
            Op::Product { of: [a, b] } => {
                self.graph.node("Mul", &name, &[&values[*a], &values[*b]])
            }
            Op::Sum { parts } => {
                let parts: Vec<&Value> = parts.iter().map(|&part| &values[part]).collect();
                self.graph.node("Sum", &name, &parts)
            }
            Op::NormalizedSwish { from, stitch } => {
                self.normalized_swish(&name, &values[*from], *stitch)
            }
            Op::Detach { from } => values[*from].clone(),
            Op::Gather { from, sums } => self.gathered(&name, &values[*from], sums),
            Op::Scores { pairs, scale } => {
                let scale = self.graph.floats("scale", &[], vec![*scale as f32]);
                let score = |&(a, b): &(usize, usize)| {
                    let product = self.graph.node(
                        "Mul",
                        &format!("{name}/product"),
                        &[&values[a], &values[b]],
                    );
                    let score = self.graph.sum(&format!("{name}/score"), &product, 1, true);
                    self.graph
                        .node("Mul", &format!("{name}/scaled"), &[&score, &scale])
                };
                let scores: Vec<Value> = pairs.iter().map(score).collect();
                self.graph.concat(&name, &scores)
            }
        }
    }

    /// Adds a layer normalisation with Swish behind it, in the operations of the scorer.
    fn normalized_swish(&mut self, name: &str, from: &Value, stitch: usize) -> Value {
        let network = &self.frozen.network;
        let weights = &network.dense[network.layout.stitches[stitch].clone()];
        let (scales, shifts) = weights.split_at(weights.len() / 2);
        let width = scales.len();
        let graph = &mut *self.graph;
        let (scales, shifts) = (
            graph.floats(&format!("{name}/scales"), &[width], scales.to_vec()),
            graph.floats(&format!("{name}/shifts"), &[width], shifts.to_vec()),
        );
        let n = graph.floats("width", &[], vec![1.0 / width as f32]);
        let epsilon = graph.floats("epsilon", &[], vec![1e-5]);
        let sum = graph.sum(&format!("{name}/sum"), from, 1, true);
        let mean = graph.node("Mul", &format!("{name}/mean"), &[&sum, &n]);
        let off = graph.node("Sub", &format!("{name}/off"), &[from, &mean]);
        let squares = graph.node("Mul", &format!("{name}/squares"), &[&off, &off]);
        let sum = graph.sum(&format!("{name}/sum_of_squares"), &squares, 1, true);
        let variance = graph.node("Mul", &format!("{name}/variance"), &[&sum, &n]);
        let variance = graph.node("Add", &format!("{name}/above_0"), &[&variance, &epsilon]);
        let deviation = graph.node("Sqrt", &format!("{name}/deviation"), &[&variance]);
        let x = graph.node("Div", &format!("{name}/normalized"), &[&off, &deviation]);
        let u = graph.node("Mul", &format!("{name}/scaled"), &[&x, &scales]);
        let u = graph.node("Add", &format!("{name}/shifted"), &[&u, &shifts]);
        let gate = graph.node("Sigmoid", &format!("{name}/gate"), &[&u]);
        graph.node("Mul", name, &[&u, &gate])
    }

    /// Adds sums of features. Those of fewer features than others are filled up with 0 times one of them.
    fn gathered(&mut self, name: &str, from: &Value, sums: &[Vec<u32>]) -> Value {
        let n = sums.iter().map(Vec::len).max().unwrap_or(0);
        let part = |k: usize| {
            let name = format!("{name}/part_{k}");
            let places = sums.iter().map(|sum| sum.get(k).copied());
            let ids = places.clone().map(|place| i64::from(place.unwrap_or(0)));
            let ids = self.graph.integers(&ids.collect::<Vec<i64>>());
            let axis = vec![int("axis", 1)];
            let picked = self.graph.node_with("Gather", &name, &[from, &ids], axis);
            let factors = places.map(|place| f32::from(u8::from(place.is_some())));
            let factors: Vec<f32> = factors.collect();
            if factors.iter().all(|&factor| factor == 1.0) {
                return picked;
            }
            let shape = [sums.len()];
            let factors = self
                .graph
                .floats(&format!("{name}/is_there"), &shape, factors);
            self.graph
                .node("Mul", &format!("{name}/kept"), &[&picked, &factors])
        };
        let parts: Vec<Value> = (0..n).map(part).collect();
        let parts: Vec<&Value> = parts.iter().collect();
        self.graph.node("Sum", name, &parts)
    }

    /// Adds `sum_k weight_k part_k`.
    fn weighted_sum(&mut self, name: &str, weights: &[Value], parts: &[Value]) -> Value {
        let product = |(weight, part)| {
            self.graph
                .node("Mul", &format!("{name}/product"), &[part, weight])
        };
        let products: Vec<Value> = weights.iter().zip(parts).map(product).collect();
        let products: Vec<&Value> = products.iter().collect();
        self.graph.node("Sum", name, &products)
    }

    /// Adds a layer with 0 for the weights that the mask prunes.
    fn layer(&mut self, layer: usize, from: &Value, rectify: bool) -> Value {
        let network = &self.frozen.network;
        let layout = &network.layout.layers[layer];
        let name = format!("{}{}", self.name, network.graph().names[layer]);
        let weights = network.masked_weights(layer, self.scorer.mask_of(self.task));
        let shape = [weights.len() / layout.outputs, layout.outputs];
        let weights = self
            .graph
            .floats(&format!("{name}/weights"), &shape, weights);
        let bias = network.dense[layout.bias.clone()].to_vec();
        let bias = self
            .graph
            .floats(&format!("{name}/bias"), &[layout.outputs], bias);
        let y = self.graph.node("Gemm", &name, &[from, &weights, &bias]);
        if rectify {
            self.graph.node("Relu", &format!("{name}/relu"), &[&y])
        } else {
            y
        }
    }

    fn head(&mut self, head: usize, from: &Value) -> Value {
        let network = &self.frozen.network;
        let layout = &network.layout.heads[head];
        let task = self.scorer.spec().head_name(network.tasks[head]);
        let name = format!("{}{task}/head", self.name);
        let weights = network.dense[layout.weights.clone()].to_vec();
        let weights = self
            .graph
            .floats(&format!("{name}/weights"), &[layout.inputs, 1], weights);
        let bias = network.dense[layout.bias.clone()].to_vec();
        let bias = self.graph.floats(&format!("{name}/bias"), &[1], bias);
        self.graph.node("Gemm", &name, &[from, &weights, &bias])
    }
}

//! From the inputs to what every network reads of a field: rows to look up, or direct inputs of the first layer.

use crate::builder::{GraphBuilder, Value, int, ints, strings};
use crate::files::{MICROSOFT, ML};
use crate::proto::element;
use crate::signature::Signature;
use ncs_features::{Field, IdSpace, Piecewise, Pooling, Rate, Schema, Vector};

/// Inputs of the networks from one field.
#[derive(Debug)]
pub(crate) enum FieldValue {
    /// A row of its table, `int64 [batch]`.
    Row(Value),
    /// Rows of its table, `int64 [batch, longest]`, and the weight of each, `float [batch, 1, longest]`.
    Rows {
        /// Rows.
        ids: Value,
        /// Weights: 0 beyond a list's end.
        weights: Value,
    },
    /// `row 1 * z + row 2` of its table, or row 0 where the number is missing.
    Scaled {
        /// Missing, `bool [batch, 1]`.
        missing: Value,
        /// `float [batch, 1]`.
        z: Value,
    },
    /// The sum of the rows of its table from 1 on, weighted by the vector, and of the row behind them, or row 0 where the
    /// vector is missing.
    Projected {
        /// Missing, `bool [batch, 1]`.
        missing: Value,
        /// `float [batch, length]`.
        vector: Value,
        /// The number of numbers.
        length: u32,
    },
    /// Direct inputs of the first layer, `float [batch, pieces + 3]` or `[batch, length + 1]`.
    Numbers(Value),
}

/// Numbers of each row as they come in.
struct RawNumbers {
    /// `double`; 0 where missing.
    x: Value,
    /// `bool`, of the same shape.
    missing: Value,
}

/// Adds what the networks read of each field of the schema.
pub(crate) fn fields(
    graph: &mut GraphBuilder,
    schema: &Schema,
    signature: &Signature,
) -> Vec<FieldValue> {
    let fields = schema.fields.iter().enumerate();
    let ids: Vec<Value> = fields
        .clone()
        .map(|(f, field)| ids(graph, schema, field, signature.name(f, false)))
        .collect();
    let value = |(f, field): (usize, &Field)| {
        let table = &schema.tables[field.table];
        let input = || signature.name(f, false).cloned().unwrap_or_default();
        match &table.ids {
            IdSpace::Hash { .. }
            | IdSpace::Vocabulary { .. }
            | IdSpace::Cross(_)
            | IdSpace::Time(_) => rows(graph, schema, signature, f, ids[f].clone()),
            IdSpace::Quantiles { boundaries } => {
                let raw = raw(graph, field, &input(), table.range);
                let ids = quantile(graph, &field.name, raw, boundaries, field.pooling.is_some());
                rows(graph, schema, signature, f, ids)
            }
            IdSpace::Scaled {
                log,
                mean,
                deviation,
            } => {
                let raw = column(graph, field, &input(), table.range);
                let x = if *log {
                    signed_log(graph, &raw.x)
                } else {
                    raw.x
                };
                let z = standardise(graph, &field.name, &x, *mean, *deviation);
                FieldValue::Scaled {
                    missing: raw.missing,
                    z,
                }
            }
            IdSpace::Piecewise(scale) => {
                let raw = column(graph, field, &input(), table.range);
                FieldValue::Numbers(numbers(graph, &field.name, &raw, scale))
            }
            IdSpace::Vector(vector) => vector_value(graph, &field.name, &input(), vector),
            IdSpace::Rate(rate) => {
                let value = match rate_by_id(graph, schema, &ids, rate, &field.name) {
                    Some(value) => value,
                    None => input(),
                };
                let raw = column(graph, field, &value, None);
                FieldValue::Numbers(numbers(graph, &field.name, &raw, &rate.scale))
            }
        }
    };
    fields.map(value).collect()
}

/// Returns the input of a field, or where it holds texts their ids: `1 + hash mod buckets`, 0 for those that mean
/// "missing".
fn ids(graph: &mut GraphBuilder, schema: &Schema, field: &Field, input: Option<&Value>) -> Value {
    let input = input.cloned().unwrap_or_default();
    let buckets = match &schema.tables[field.table].ids {
        ids @ IdSpace::Hash { buckets, .. } if ids.is_hashed_in_graphs() => *buckets,
        _ => return input,
    };
    let name = |part: &str| format!("{}/{part}", field.name);
    let seed = vec![int("seed", 0), int("positive", 1)];
    let hash = graph.node_of(MICROSOFT.0, "MurmurHash3", &name("hash"), &[&input], seed);
    let hash = graph.cast(&name("hash_as_int64"), &hash, element::INT64);
    let [one, buckets] = [1, i64::from(buckets.max(1))].map(|number| graph.integer(number));
    let bucket = graph.node("Mod", &name("bucket"), &[&hash, &buckets]);
    let id = graph.node("Add", &name("id_of_text"), &[&bucket, &one]);
    // Texts are compared by a lookup: `Equal` takes texts from operator set 19 on.
    let mut missing = field.missing_texts(schema.value_rule);
    missing.push(String::new());
    missing.sort();
    missing.dedup();
    let lookup = vec![
        ints("values_int64s", &vec![0; missing.len()]),
        strings("keys_strings", missing),
        int("default_int64", 1),
    ];
    let known = graph.node_of(ML.0, "LabelEncoder", &name("is_known"), &[&input], lookup);
    graph.node("Mul", &name("id"), &[&id, &known])
}

/// Returns one row of the table for each row of the batch, or the rows of lists with their weights.
fn rows(
    graph: &mut GraphBuilder,
    schema: &Schema,
    signature: &Signature,
    f: usize,
    ids: Value,
) -> FieldValue {
    let field = &schema.fields[f];
    let (Some(pooling), Some(lengths)) = (field.pooling, signature.name(f, true)) else {
        return FieldValue::Row(ids);
    };
    let name = |part: &str| format!("{}/{part}", field.name);
    // Places before the end of the list, with a value: the encoder leaves missing values out.
    let shape = graph.node("Shape", &name("shape"), &[&ids]);
    let [zero, one] = [0, 1].map(|number| graph.integer(number));
    let longest = graph.node_with(
        "Gather",
        &name("longest"),
        &[&shape, &one],
        vec![int("axis", 0)],
    );
    let places = graph.node("Range", &name("places"), &[&zero, &longest, &one]);
    let ends = graph.unsqueeze(&name("ends"), lengths, 1);
    let inside = graph.node("Less", &name("inside"), &[&places, &ends]);
    let missing = graph.node("Equal", &name("is_missing"), &[&ids, &zero]);
    let present = graph.node("Not", &name("is_present"), &[&missing]);
    // Events without a value keep their place: they have the row of missing values.
    let is_events = pooling.attribute().is_some();
    let valid = match is_events {
        true => inside,
        false => graph.node("And", &name("valid"), &[&inside, &present]),
    };
    let ids = graph.node("Where", &name("ids"), &[&valid, &ids, &zero]);
    let mut weights = graph.cast(&name("weights"), &valid, element::FLOAT);
    if pooling == Pooling::Mean || is_events {
        let n = graph.sum(&name("n"), &weights, 1, true);
        let one = graph.floats("one", &[], vec![1.0]);
        let n = graph.node("Max", &name("n_or_1"), &[&n, &one]);
        weights = graph.node("Div", &name("shares"), &[&weights, &n]);
    }
    FieldValue::Rows {
        ids,
        weights: graph.unsqueeze(&name("weights_of_list"), &weights, 1),
    }
}

/// Reads raw numbers of any shape: the missing ones apart, the others within the range.
fn raw(
    graph: &mut GraphBuilder,
    field: &Field,
    input: &Value,
    range: Option<[f64; 2]>,
) -> RawNumbers {
    let name = |part: &str| format!("{}/{part}", field.name);
    let mut missing = graph.node("IsNaN", &name("missing"), &[input]);
    for number in field.missing_numbers() {
        let number = graph.double(number);
        let is_it = graph.node("Equal", &name("is_missing"), &[input, &number]);
        missing = graph.node("Or", &name("missing"), &[&missing, &is_it]);
    }
    let zero = graph.double(0.0);
    let mut x = graph.node("Where", &name("number"), &[&missing, &zero, input]);
    if let Some([least, most]) = range {
        x = clip(graph, &name("in_range"), &x, [least, most]);
    }
    RawNumbers { x, missing }
}

/// Reads one raw number of each row, as a column `[batch, 1]`.
fn column(
    graph: &mut GraphBuilder,
    field: &Field,
    input: &Value,
    range: Option<[f64; 2]>,
) -> RawNumbers {
    let input = graph.unsqueeze(&format!("{}/column", field.name), input, 1);
    raw(graph, field, &input, range)
}

fn clip(graph: &mut GraphBuilder, name: &str, x: &Value, [least, most]: [f64; 2]) -> Value {
    let (least, most) = (graph.double(least), graph.double(most));
    graph.node("Clip", name, &[x, &least, &most])
}

/// Returns `1 + number of boundaries <= x`, 0 where the number is missing, of the shape of the numbers.
fn quantile(
    graph: &mut GraphBuilder,
    field: &str,
    raw: RawNumbers,
    boundaries: &[f64],
    is_list: bool,
) -> Value {
    let name = |part: &str| format!("{field}/{part}");
    let zero = graph.integer(0);
    let one = graph.integer(1);
    if boundaries.is_empty() {
        return graph.node("Where", &name("quantile"), &[&raw.missing, &zero, &one]);
    }
    let axis = if is_list { 2 } else { 1 };
    let boundaries = graph.doubles(
        &name("boundaries"),
        &[boundaries.len()],
        boundaries.to_vec(),
    );
    let x = graph.unsqueeze(&name("numbers"), &raw.x, axis);
    let passed = graph.node("GreaterOrEqual", &name("passed"), &[&x, &boundaries]);
    let passed = graph.cast(&name("passed_as_1"), &passed, element::INT64);
    let n = graph.sum(&name("n_passed"), &passed, axis, false);
    let id = graph.node("Add", &name("quantile_of_number"), &[&n, &one]);
    graph.node("Where", &name("quantile"), &[&raw.missing, &zero, &id])
}

/// `sign(x) log(1 + |x|)`, as exact as `ln_1p` for small numbers too: with `u = 1 + a`, `log(1 + a)` is
/// `a log(u) / (u - 1)`, or `a` where `u` is 1 (Kahan, as in Goldberg 1991, theorem 4).
fn signed_log(graph: &mut GraphBuilder, x: &Value) -> Value {
    let (zero, one) = (graph.double(0.0), graph.double(1.0));
    let sign = graph.node("Sign", "log/sign", &[x]);
    let a = graph.node("Abs", "log/abs", &[x]);
    let u = graph.node("Add", "log/u", &[&a, &one]);
    let d = graph.node("Sub", "log/d", &[&u, &one]);
    let is_tiny = graph.node("Equal", "log/is_tiny", &[&d, &zero]);
    let divisor = graph.node("Where", "log/divisor", &[&is_tiny, &one, &d]);
    let log = graph.node("Log", "log/log", &[&u]);
    let product = graph.node("Mul", "log/product", &[&a, &log]);
    let quotient = graph.node("Div", "log/quotient", &[&product, &divisor]);
    let log = graph.node("Where", "log/log_1p", &[&is_tiny, &a, &quotient]);
    graph.node("Mul", "log/signed", &[&log, &sign])
}

/// `(x - mean) / deviation` in single precision.
fn standardise(
    graph: &mut GraphBuilder,
    field: &str,
    x: &Value,
    mean: f64,
    deviation: f64,
) -> Value {
    let (mean, deviation) = (graph.double(mean), graph.double(deviation));
    let centred = graph.node("Sub", &format!("{field}/centred"), &[x, &mean]);
    let z = graph.node("Div", &format!("{field}/z"), &[&centred, &deviation]);
    graph.cast(&format!("{field}/standard"), &z, element::FLOAT)
}

/// Returns the direct inputs of the first layer, `[batch, pieces + 3]`: the pieces, the standardised number, the
/// standardised logarithm, the missing-value indicator, as [`Piecewise`] describes them.
fn numbers(graph: &mut GraphBuilder, field: &str, raw: &RawNumbers, scale: &Piecewise) -> Value {
    let name = |part: &str| format!("{field}/{part}");
    let knots = &scale.knots;
    let (first, last) = (knots[0], knots[knots.len() - 1]);
    let x = clip(graph, &name("between_knots"), &raw.x, [first, last]);
    let log = signed_log(graph, &x);
    let mut parts = Vec::new();
    if scale.pieces() > 0 {
        parts.push(pieces(graph, field, &x, knots));
    }
    parts.push(standardise(graph, field, &x, scale.mean, scale.deviation));
    parts.push(standardise(
        graph,
        field,
        &log,
        scale.log_mean,
        scale.log_deviation,
    ));
    let known = graph.concat(&name("known"), &parts);
    let zero = graph.floats("zero", &[], vec![0.0]);
    let known = graph.node("Where", &name("known_or_0"), &[&raw.missing, &zero, &known]);
    let flag = graph.cast(&name("missing_flag"), &raw.missing, element::FLOAT);
    graph.concat(&name("numbers"), &[known, flag])
}

/// Reads the vectors `input`, `double [batch, length]`, for the first layer or a projection.
fn vector_value(
    graph: &mut GraphBuilder,
    field: &str,
    input: &Value,
    vector: &Vector,
) -> FieldValue {
    let name = |part: &str| format!("{field}/{part}");
    let first = graph.integers(&[0]);
    let gather = vec![int("axis", 1)];
    let head = graph.node_with("Gather", &name("head"), &[input, &first], gather);
    let missing = graph.node("IsNaN", &name("missing"), &[&head]);
    let zero = graph.double(0.0);
    let mut x = graph.node("Where", &name("known"), &[&missing, &zero, input]);
    if !vector.scale.is_empty() {
        let n = vector.scale.len();
        let part = |i: usize| vector.scale.iter().map(|scale| scale[i]).collect();
        let means = graph.doubles(&name("means"), &[n], part(0));
        let deviations = graph.doubles(&name("deviations"), &[n], part(1));
        let centred = graph.node("Sub", &name("centred"), &[&x, &means]);
        let scaled = graph.node("Div", &name("scaled"), &[&centred, &deviations]);
        x = graph.node("Where", &name("scaled_or_0"), &[&missing, &zero, &scaled]);
    }
    let x = graph.cast(&name("vector"), &x, element::FLOAT);
    if vector.projected {
        return FieldValue::Projected {
            missing,
            vector: x,
            length: vector.length,
        };
    }
    let flag = graph.cast(&name("missing_flag"), &missing, element::FLOAT);
    FieldValue::Numbers(graph.concat(&name("numbers"), &[x, flag]))
}

/// The place of a number between the knots, in single precision as the encoder holds it, and its pieces.
fn pieces(graph: &mut GraphBuilder, field: &str, x: &Value, knots: &[f64]) -> Value {
    let name = |part: &str| format!("{field}/{part}");
    let n = knots.len() - 1;
    let lows = graph.doubles(&name("lows"), &[n], knots[..n].to_vec());
    let widths = knots.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let widths = graph.doubles(&name("widths"), &[n], widths);
    let above = graph.node("Sub", &name("above"), &[x, &lows]);
    let shares = graph.node("Div", &name("shares"), &[&above, &widths]);
    let shares = clip(graph, &name("clipped"), &shares, [0.0, 1.0]);
    let place = graph.sum(&name("place"), &shares, 1, true);
    let place = graph.cast(&name("place_single"), &place, element::FLOAT);
    let firsts = graph.floats("firsts", &[n], (0..n).map(|k| k as f32).collect());
    let pieces = graph.node("Sub", &name("beyond"), &[&place, &firsts]);
    let zero = graph.floats("zero", &[], vec![0.0]);
    let one = graph.floats("one", &[], vec![1.0]);
    graph.node("Clip", &name("pieces"), &[&pieces, &zero, &one])
}

/// Returns the past count or rate of the rows' ids, `double [batch]`, NaN where nothing is known; `None` for pairs.
fn rate_by_id(
    graph: &mut GraphBuilder,
    schema: &Schema,
    ids: &[Value],
    rate: &Rate,
    name: &str,
) -> Option<Value> {
    let n_ids = schema.tables[schema.fields[rate.of[0]].table].ids.n_rows();
    let by_id = rate.values_by_id(schema, n_ids as u32)?;
    // Known values only, behind one NaN, and for each id its place among them.
    let mut known = vec![f64::NAN];
    let mut places = Vec::with_capacity(by_id.len());
    for value in by_id {
        places.push(if value.is_nan() {
            0
        } else {
            known.len() as i32
        });
        known.extend(Some(value).filter(|value| !value.is_nan()));
    }
    let ids = &ids[rate.of[0]];
    let places = crate::builder::Elements::I32(places);
    let places = graph.constant(&format!("{name}/places"), &[n_ids], places);
    let place = graph.node("Gather", &format!("{name}/place"), &[&places, ids]);
    let known = graph.doubles(&format!("{name}/known"), &[known.len()], known);
    Some(graph.node("Gather", &format!("{name}/value"), &[&known, &place]))
}

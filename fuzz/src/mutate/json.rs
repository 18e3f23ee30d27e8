//! Mutations that preserve valid JSON.

use super::{number, word};
use crate::random::Random;
use serde_json::{Map, Value};
use std::ops::Range;

/// Mutates a value of the JSON in `bytes`; other bytes are mutated without a format.
pub(super) fn mutate(
    bytes: &mut Vec<u8>,
    other: &[u8],
    words: &'static [&'static str],
    random: &mut Random,
) {
    let range = json_range(bytes, random.once_in(4));
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes[range.clone()]) else {
        return super::mutate_bytes(bytes, other, words, random);
    };
    let others = serde_json::from_slice::<Value>(&other[json_range(other, false)]).ok();
    let chosen = random.below(count(&value));
    if let Some(node) = nth(&mut value, &mut { chosen }) {
        mutate_node(node, others, words, random);
    }
    bytes.splice(range, value.to_string().into_bytes());
}

/// Returns the range from the first bracket, or from the next one after a zero byte, to the next zero byte.
fn json_range(bytes: &[u8], is_second: bool) -> Range<usize> {
    let from = |start: usize, matches: fn(&u8) -> bool| {
        let position = bytes[start..].iter().position(matches);
        position.map_or(bytes.len(), |at| start + at)
    };
    let is_open = |byte: &u8| matches!(byte, b'{' | b'[');
    let is_zero = |byte: &u8| *byte == 0;
    let first = from(0, is_open);
    let start = if is_second {
        from(from(first, is_zero), is_open)
    } else {
        first
    };
    start..from(start, is_zero)
}

/// Returns the number of values, including the whole.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// Returns the value number `left`, in depth-first order; `left` is counted down.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(map) => map.values_mut().find_map(|item| nth(item, left)),
        _ => None,
    }
}

fn mutate_node(
    node: &mut Value,
    other: Option<Value>,
    words: &'static [&'static str],
    random: &mut Random,
) {
    match (random.below(4), &mut *node) {
        (0, _) => *node = leaf(words, random),
        (1, _) => *node = other.map_or(Value::Null, |other| part(other, random)),
        (2, _) => *node = Value::Array(vec![node.clone(); random.below(4)]),
        (_, Value::Array(items)) => mutate_list(items, words, random),
        (_, Value::Object(map)) => mutate_map(map, other, words, random),
        (_, Value::String(text)) => text.push_str(word(words, random)),
        (_, Value::Number(old)) => {
            let near = old
                .as_i64()
                .map(|x| x.wrapping_add(random.below(5) as i64 - 2));
            *node = near.map_or(Value::Null, Value::from);
        }
        _ => *node = leaf(words, random),
    }
}

fn leaf(words: &'static [&'static str], random: &mut Random) -> Value {
    const FLOATS: [f64; 10] = [
        0.0,
        -0.0,
        0.5,
        1.5,
        -1e300,
        1e308,
        1e38,
        5e-324,
        9007199254740993.0,
        1e19,
    ];
    match random.below(8) {
        0 => Value::Null,
        1 => Value::Bool(random.once_in(2)),
        2 => Value::from(u64::MAX),
        3 => Value::from(*random.pick(&FLOATS)),
        4 | 5 => Value::from(number(random)),
        _ => Value::from(word(words, random)),
    }
}

fn part(mut whole: Value, random: &mut Random) -> Value {
    let chosen = random.below(count(&whole));
    let part = nth(&mut whole, &mut { chosen }).map(Value::take);
    part.unwrap_or(Value::Null)
}

fn mutate_list(items: &mut Vec<Value>, words: &'static [&'static str], random: &mut Random) {
    let n = items.len();
    match random.below(3) {
        0 => {
            items.drain(random.span(n, n));
        }
        1 if n > 0 => {
            let copies = vec![items[random.below(n)].clone(); random.few(80)];
            items.extend(copies);
        }
        _ => items.push(leaf(words, random)),
    }
}

fn mutate_map(
    map: &mut Map<String, Value>,
    other: Option<Value>,
    words: &'static [&'static str],
    random: &mut Random,
) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let new = word(words, random).to_owned();
    let key = keys.get(random.below(keys.len()));
    match (random.below(3), key) {
        (0, Some(key)) => drop(map.remove(key)),
        (1, Some(key)) => {
            let value = map.remove(key).unwrap_or_default();
            map.insert(new, value);
        }
        _ => {
            let value = other.map_or(Value::Null, |other| part(other, random));
            map.insert(new, value);
        }
    }
}

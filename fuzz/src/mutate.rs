//! Inputs out of others.

mod json;
mod protobuf;

use crate::random::Random;

/// What inputs are made of, so that a part of the changes keeps to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes.
    Bytes,
    /// JSON from the first bracket to the next zero byte; there may be more of it behind that byte.
    Json,
    /// A message of protobuf.
    Protobuf,
}

/// How the inputs of a target are changed.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// What they are made of.
    pub form: Form,
    /// What may stand in them.
    pub words: &'static [&'static str],
    /// Their largest size.
    pub longest: usize,
}

/// Numbers at which something ends.
const NUMBERS: [i64; 18] = [
    0,
    1,
    -1,
    2,
    3,
    63,
    64,
    65,
    127,
    255,
    256,
    65535,
    1 << 24,
    i32::MAX as i64,
    u32::MAX as i64,
    1 << 32,
    i64::MAX,
    i64::MIN,
];

impl Changes {
    /// `input`, changed; parts of `other` may come into it.
    pub fn change(&self, input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..random.few(4) {
            self.change_once(&mut bytes, other, random);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn change_once(&self, bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
        let keeps_form = !random.once_in(3);
        match self.form {
            Form::Json if keeps_form => json::change(bytes, other, self.words, random),
            Form::Protobuf if keeps_form => protobuf::change(bytes, other, self.words, random),
            _ => change_bytes(bytes, other, self.words, random),
        }
    }
}

/// A change that knows nothing of what the bytes mean.
fn change_bytes(
    bytes: &mut Vec<u8>,
    other: &[u8],
    words: &'static [&'static str],
    random: &mut Random,
) {
    let n = bytes.len();
    match random.below(10) {
        0 => flip(bytes, random),
        1 => {
            bytes.drain(random.span(n, 64));
        }
        2 => bytes.truncate(random.below(n + 1)),
        3 => {
            let span = random.span(n, 64);
            let copy = bytes[span].to_vec();
            insert(bytes, &copy.repeat(random.few(16)), random);
        }
        4 => {
            let span = random.span(other.len(), 256);
            insert(bytes, &other[span], random);
        }
        5 => {
            let (head, tail) = (random.below(n + 1), random.below(other.len() + 1));
            bytes.truncate(head);
            bytes.extend_from_slice(&other[tail..]);
        }
        6 => insert(bytes, word(words, random).as_bytes(), random),
        7 => overwrite(bytes, &number_bytes(random), random),
        8 => insert(bytes, &[random.bits() as u8], random),
        _ => overwrite(bytes, word(words, random).as_bytes(), random),
    }
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let (n, bit) = (bytes.len(), random.below(8));
    if let Some(byte) = bytes.get_mut(random.below(n)) {
        *byte ^= 1 << bit;
    }
}

fn insert(bytes: &mut Vec<u8>, what: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, what.iter().copied());
}

fn overwrite(bytes: &mut [u8], what: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let places = bytes[at..].iter_mut().zip(what);
    places.for_each(|(to, from)| *to = *from);
}

/// A number at an end, in one to eight bytes.
fn number_bytes(random: &mut Random) -> Vec<u8> {
    let number = number(random).to_le_bytes();
    number[..1 << random.below(4)].to_vec()
}

/// A number at which something ends, or one beside it.
fn number(random: &mut Random) -> i64 {
    let near = random.below(3) as i64 - 1;
    random.pick(&NUMBERS).wrapping_add(near)
}

/// A word of the target, or one of those that are odd everywhere.
fn word<'a>(words: &'a [&'a str], random: &mut Random) -> &'a str {
    const ODD: [&str; 24] = [
        "",
        " ",
        "\n",
        "\0",
        "\"",
        "\\",
        "\\u0000",
        "\\ud800",
        "\u{feff}",
        "é",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "NaN",
        "-Infinity",
        "1e999",
        "-0.0",
        "1e-400",
        "1e38",
        "18446744073709551615",
    ];
    match words.is_empty() || random.once_in(3) {
        true => ODD[random.below(ODD.len())],
        false => words[random.below(words.len())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_none_is_too_long() {
        for form in [Form::Bytes, Form::Json, Form::Protobuf] {
            let changes = Changes {
                form,
                words: &["context"],
                longest: 60,
            };
            let inputs = |seed| {
                let mut random = Random::new(seed, "test");
                let change = |_| changes.change(b"{\"a\": [1, 2]}", b"\x0a\x01x", &mut random);
                (0..1000).map(change).collect::<Vec<_>>()
            };
            assert_eq!(inputs(1), inputs(1));
            assert_ne!(inputs(1), inputs(2));
            assert!(inputs(1).iter().all(|input| input.len() <= 60));
        }
    }
}

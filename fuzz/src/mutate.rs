//! Mutation of inputs.

mod json;
mod protobuf;

use crate::random::Random;

/// The format of inputs, which some of the mutations preserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Bytes.
    Bytes,
    /// JSON from the first bracket to the next zero byte; more JSON may follow that byte.
    Json,
    /// A protobuf message.
    Protobuf,
}

/// The mutator of the inputs of a target.
#[derive(Clone, Copy, Debug)]
pub struct Mutator {
    /// The format of the inputs.
    pub form: Form,
    /// Words to insert.
    pub words: &'static [&'static str],
    /// Their maximum size in bytes.
    pub max_length: usize,
}

/// Boundary values.
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

impl Mutator {
    /// Returns a mutated copy of `input`, which may contain parts of `other`.
    pub fn mutate(&self, input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..random.few(4) {
            self.mutate_once(&mut bytes, other, random);
        }
        bytes.truncate(self.max_length);
        bytes
    }

    fn mutate_once(&self, bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
        let keeps_form = !random.once_in(3);
        match self.form {
            Form::Json if keeps_form => json::mutate(bytes, other, self.words, random),
            Form::Protobuf if keeps_form => protobuf::mutate(bytes, other, self.words, random),
            _ => mutate_bytes(bytes, other, self.words, random),
        }
    }
}

/// Mutates bytes of any format.
fn mutate_bytes(
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

fn insert(bytes: &mut Vec<u8>, inserted: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, inserted.iter().copied());
}

fn overwrite(bytes: &mut [u8], new: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let places = bytes[at..].iter_mut().zip(new);
    places.for_each(|(to, from)| *to = *from);
}

/// Returns a boundary value in one to eight bytes.
fn number_bytes(random: &mut Random) -> Vec<u8> {
    let number = number(random).to_le_bytes();
    number[..1 << random.below(4)].to_vec()
}

/// Returns a boundary value, or one next to it.
fn number(random: &mut Random) -> i64 {
    let near = random.below(3) as i64 - 1;
    random.pick(&NUMBERS).wrapping_add(near)
}

/// Returns a word of the target, or one that is special in many formats.
fn word<'a>(words: &'a [&'a str], random: &mut Random) -> &'a str {
    const SPECIAL: [&str; 24] = [
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
    if words.is_empty() || random.once_in(3) {
        SPECIAL[random.below(SPECIAL.len())]
    } else {
        words[random.below(words.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_within_the_maximum_length() {
        for form in [Form::Bytes, Form::Json, Form::Protobuf] {
            let mutator = Mutator {
                form,
                words: &["context"],
                max_length: 60,
            };
            let inputs = |seed| {
                let mut random = Random::new(seed, "test");
                let mutate = |_| mutator.mutate(b"{\"a\": [1, 2]}", b"\x0a\x01x", &mut random);
                (0..1000).map(mutate).collect::<Vec<_>>()
            };
            assert_eq!(inputs(1), inputs(1));
            assert_ne!(inputs(1), inputs(2));
            assert!(inputs(1).iter().all(|input| input.len() <= 60));
        }
    }
}

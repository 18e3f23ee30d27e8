//! FarmHash's Fingerprint64 (Google, 2014; MIT licence): the hash of TensorFlow's
//! `string_to_hash_bucket_fast`, Guava's `farmHashFingerprint64` and BigQuery's `FARM_FINGERPRINT`.
//!
//! The function is frozen by its authors. It is implemented here because the crate `farmhash` is no longer
//! maintained, and its hashes of texts of 128, 192, 256, ... bytes differ from the reference.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;

/// Bytes that one round of the long form mixes in.
const ROUND: usize = 64;

/// Returns the fingerprint of some bytes.
pub(crate) fn fingerprint64(text: &[u8]) -> u64 {
    match text.len() {
        0..=16 => up_to_16(text),
        17..=32 => up_to_32(text),
        33..=64 => up_to_64(text),
        _ => longer(text),
    }
}

fn up_to_16(text: &[u8]) -> u64 {
    let len = text.len();
    let mul = K2.wrapping_add(2 * len as u64);
    match len {
        0 => K2,
        1..=3 => {
            let byte = |at: usize| u64::from(text[at]);
            let (y, z) = (
                byte(0) + (byte(len / 2) << 8),
                len as u64 + (byte(len - 1) << 2),
            );
            shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K0)).wrapping_mul(K2)
        }
        4..=7 => {
            let first = len as u64 + (word32(text, 0) << 3);
            mix(first, word32(text, len - 4), mul)
        }
        _ => {
            let a = word(text, 0).wrapping_add(K2);
            let b = word(text, len - 8);
            let c = b.rotate_right(37).wrapping_mul(mul).wrapping_add(a);
            let d = a.rotate_right(25).wrapping_add(b).wrapping_mul(mul);
            mix(c, d, mul)
        }
    }
}

fn up_to_32(text: &[u8]) -> u64 {
    let mul = K2.wrapping_add(2 * text.len() as u64);
    let ends = Ends::of(text, K1, mul);
    mix(ends.sum(), ends.other(), mul)
}

fn up_to_64(text: &[u8]) -> u64 {
    let len = text.len();
    let mul = K2.wrapping_add(2 * len as u64);
    let ends = Ends::of(text, K2, mul);
    let y = ends.sum();
    let z = mix(y, ends.other(), mul);
    let e = word(text, 16).wrapping_mul(mul);
    let f = word(text, 24);
    let g = y.wrapping_add(word(text, len - 32)).wrapping_mul(mul);
    let h = z.wrapping_add(word(text, len - 24)).wrapping_mul(mul);
    let inner = Ends {
        a: e,
        b: f,
        c: g,
        d: h,
    };
    let other = e.wrapping_add(f.wrapping_add(ends.a).rotate_right(18));
    mix(inner.sum(), other.wrapping_add(g), mul)
}

/// The first and the last 16 bytes of a text of 17 to 64.
struct Ends {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Ends {
    fn of(text: &[u8], first: u64, mul: u64) -> Ends {
        let len = text.len();
        Ends {
            a: word(text, 0).wrapping_mul(first),
            b: word(text, 8),
            c: word(text, len - 8).wrapping_mul(mul),
            d: word(text, len - 16).wrapping_mul(K2),
        }
    }

    fn sum(&self) -> u64 {
        let ab = self.a.wrapping_add(self.b).rotate_right(43);
        ab.wrapping_add(self.c.rotate_right(30))
            .wrapping_add(self.d)
    }

    fn other(&self) -> u64 {
        let b = self.b.wrapping_add(K2).rotate_right(18);
        self.a.wrapping_add(b).wrapping_add(self.c)
    }
}

/// State of the long form between rounds.
struct State {
    x: u64,
    y: u64,
    z: u64,
    v: (u64, u64),
    w: (u64, u64),
}

fn longer(text: &[u8]) -> u64 {
    const SEED: u64 = 81;
    let y = SEED.wrapping_mul(K1).wrapping_add(113);
    let mut state = State {
        x: SEED.wrapping_mul(K2).wrapping_add(word(text, 0)),
        y,
        z: shift_mix(y.wrapping_mul(K2).wrapping_add(113)).wrapping_mul(K2),
        v: (0, 0),
        w: (0, 0),
    };
    // The last 64 bytes have a round of their own, which may read some bytes again.
    let before_last = (text.len() - 1) / ROUND * ROUND;
    let rounds = text[..before_last].chunks_exact(ROUND);
    rounds.for_each(|bytes| state.round(bytes, K1, 1));
    let mul = K1.wrapping_add((state.z & 0xff) << 1);
    let State { v, w, .. } = &mut state;
    w.0 = w.0.wrapping_add(((text.len() - 1) % ROUND) as u64);
    v.0 = v.0.wrapping_add(w.0);
    w.0 = w.0.wrapping_add(v.0);
    state.round(&text[text.len() - ROUND..], mul, 9);
    let State { x, y, z, v, w } = state;
    let first = mix(v.0, w.0, mul).wrapping_add(shift_mix(y).wrapping_mul(K0));
    let second = mix(v.1, w.1, mul).wrapping_add(x);
    mix(first.wrapping_add(z), second, mul)
}

impl State {
    fn round(&mut self, bytes: &[u8], mul: u64, factor: u64) {
        let State { x, y, z, v, w } = self;
        let sum = x.wrapping_add(*y).wrapping_add(v.0);
        *x = sum
            .wrapping_add(word(bytes, 8))
            .rotate_right(37)
            .wrapping_mul(mul);
        let sum = y.wrapping_add(v.1).wrapping_add(word(bytes, 48));
        *y = sum.rotate_right(42).wrapping_mul(mul);
        *x ^= w.1.wrapping_mul(factor);
        *y = y
            .wrapping_add(v.0.wrapping_mul(factor))
            .wrapping_add(word(bytes, 40));
        *z = z.wrapping_add(w.0).rotate_right(33).wrapping_mul(mul);
        *v = weak(&bytes[..32], v.1.wrapping_mul(mul), x.wrapping_add(w.0));
        let seed = y.wrapping_add(word(bytes, 16));
        *w = weak(&bytes[32..], z.wrapping_add(w.1), seed);
        std::mem::swap(z, x);
    }
}

/// 32 bytes under two seeds.
fn weak(bytes: &[u8], a: u64, b: u64) -> (u64, u64) {
    let last = word(bytes, 24);
    let a = a.wrapping_add(word(bytes, 0));
    let b = b.wrapping_add(a).wrapping_add(last).rotate_right(21);
    let sum = a.wrapping_add(word(bytes, 8)).wrapping_add(word(bytes, 16));
    let b = b.wrapping_add(sum.rotate_right(44));
    (sum.wrapping_add(last), b.wrapping_add(a))
}

fn mix(u: u64, v: u64, mul: u64) -> u64 {
    let a = shift_mix((u ^ v).wrapping_mul(mul));
    shift_mix((v ^ a).wrapping_mul(mul)).wrapping_mul(mul)
}

fn shift_mix(x: u64) -> u64 {
    x ^ (x >> 47)
}

/// 8 bytes, little-endian.
fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..]
        .first_chunk()
        .expect("a length that was looked at");
    u64::from_le_bytes(*bytes)
}

/// 4 bytes, little-endian.
fn word32(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..]
        .first_chunk()
        .expect("a length that was looked at");
    u64::from(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guava's vectors (`FarmHashFingerprint64Test`): short, of one form each, and of whole rounds, which the
    /// crate `farmhash` 1.1 gets wrong.
    #[test]
    fn published_vectors_hold() {
        let check = |text: String, expected: i64| {
            assert_eq!(fingerprint64(text.as_bytes()) as i64, expected, "{text}");
        };
        check("test".to_owned(), 8_581_389_452_482_819_506);
        check("test".repeat(8), -4_196_240_717_365_766_262);
        check("test".repeat(64), 3_500_507_768_004_279_527);
    }

    /// At and around every length where another form begins; the values of the crate `farmhash` 1.1.
    #[test]
    fn every_form_never_changes() {
        let text = "0123456789abcdef".repeat(20);
        let check = |len: usize, expected| {
            assert_eq!(fingerprint64(&text.as_bytes()[..len]), expected, "{len}");
        };
        check(0, 0x9ae1_6a3b_2f90_404f);
        check(1, 0xd2ed_9607_3b81_823f);
        check(3, 0x73d7_fa16_4971_735c);
        check(4, 0x839a_cc61_3dfb_3687);
        check(7, 0x1d09_6f87_b7b2_8685);
        check(8, 0x6dff_3af4_ce43_e8f6);
        check(16, 0x54b9_61e5_dc83_4067);
        check(17, 0x6deb_36b4_a021_a909);
        check(32, 0x1b2d_8a5b_869f_ce78);
        check(33, 0x429b_8876_385e_7d4c);
        check(64, 0xfee4_4410_bd22_6900);
        check(65, 0x1588_35a7_541c_0a9a);
        check(127, 0xda36_f99c_d6d7_1f8c);
        check(129, 0x0a3e_0a58_613b_5bbb);
        check(300, 0x3547_dadf_afe1_161e);
    }
}

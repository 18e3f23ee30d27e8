//! Text to number, the same in every release.

use crate::farm::fingerprint64;
use crate::murmur::murmur3_32;
use crate::schema::HashFunction;
use std::hash::{BuildHasherDefault, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl HashFunction {
    /// Returns the hash of the bytes of a text: 64 bits, of `Murmur3` 32.
    pub fn hash(&self, text: &[u8]) -> u64 {
        match self {
            HashFunction::Xxh3 => xxh3_64_with_seed(text, 0),
            HashFunction::Farm => fingerprint64(text),
            HashFunction::Murmur3 => u64::from(murmur3_32(text)),
        }
    }
}

/// Returns the 64-bit XXH3 hash of a text under a seed, for splits and groups.
pub fn seeded_hash(text: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(text, seed)
}

/// Returns the next number of a seeded stream and advances the stream: SplitMix64 (Steele, Lea, Flood 2014).
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mix(*state)
}

/// Mixes bits by the finaliser of SplitMix64.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns a random number below `bound` (at least 1), uniform to within `bound / 2^64`.
pub fn below(state: &mut u64, bound: u64) -> u64 {
    ((u128::from(split_mix(state)) * u128::from(bound)) >> 64) as u64
}

/// Hasher of maps whose keys are texts.
pub(crate) type TextHash = BuildHasherDefault<TextHasher>;

/// XXH3 in one shot: map keys are hashed by one `write` of the whole text.
#[derive(Default)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, text: &[u8]) {
        self.0 = xxh3_64_with_seed(text, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The expected values are those of the reference implementation.
    #[test]
    fn xxh3_never_changes() {
        let check = |text: &str, hash| assert_eq!(HashFunction::Xxh3.hash(text.as_bytes()), hash);
        check("", 0x2D06_8005_38D3_94C2);
        check("a", 0xE6C6_32B6_1E96_4E1F);
        check("-1", 0xBC25_A7B6_12CB_A21F);
        check("user_1527", 0x8BC8_E5FE_0DC4_EF8D);
        check("a text of more than sixteen bytes", 0x9B35_6231_27F3_2CF6);
        check(&"0123456789".repeat(30), 0x0568_1EA1_B2E3_086B);
        assert_eq!(seeded_hash(b"user_1527", 7), 0x71B9_F7BD_F3AE_F1D6);
    }

    #[test]
    fn farm_fingerprints_are_those_of_tensorflow() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/reference/hash.json"
        );
        if !Path::new(path).exists() {
            println!("skipped: ../shared is absent");
            return;
        }
        let fixture: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let texts = fixture["strings"].as_array().unwrap();
        for (buckets, ids) in fixture["fingerprint64_mod"].as_object().unwrap() {
            let buckets: u64 = buckets.parse().unwrap();
            for (text, id) in texts.iter().zip(ids.as_array().unwrap()) {
                let text = text.as_str().unwrap();
                let hash = HashFunction::Farm.hash(text.as_bytes());
                let ours = if text == "-1" { 0 } else { 1 + hash % buckets };
                assert_eq!(Some(ours), id.as_u64(), "{text} mod {buckets}");
            }
        }
    }

    #[test]
    fn farm_fingerprints_need_no_fixture() {
        let check = |text: &str, id| {
            assert_eq!(1 + HashFunction::Farm.hash(text.as_bytes()) % 1000, id);
        };
        check("0", 736);
        check("1", 850);
        check("100774", 488);
    }

    /// The expected values are those of mmh3 5.3.1 (Python): `mmh3.hash(text.encode(), 0, signed=False)`.
    #[test]
    fn murmur3_never_changes() {
        let check = |text: &str, hash| {
            assert_eq!(
                HashFunction::Murmur3.hash(text.as_bytes()),
                hash,
                "{text:?}"
            );
        };
        check("", 0);
        check("a", 0x3C25_69B2);
        check("-1", 0x71BA_248A);
        check("ab", 0x9BBF_D75F);
        check("abc", 0xB3DD_93FA);
        check("abcd", 0x43ED_676A);
        check("item 7", 0x618E_8E79);
        check("user_1527", 0x877E_3528);
        check("a text of more than sixteen bytes", 0x76DB_C5A5);
        check(&"0123456789".repeat(30), 0x173A_BF88);
        check("Gr\u{FC}\u{DF}e", 0x6AC9_C100);
        check("\u{65E5}\u{672C}\u{8A9E}", 0xA5A4_7297);
        check("\u{1F600}", 0xBEB4_2EFA);
        check("\u{E9}t\u{E9} \0 x", 0xEEA7_7316);
    }

    #[test]
    fn small_numbers_stay_below_their_bound() {
        let mut state = 7;
        let mut seen = [0u32; 5];
        for _ in 0..5_000 {
            seen[below(&mut state, 5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (900..1100).contains(&n)), "{seen:?}");
    }
}

//! MurmurHash3 of 32 bits, seed 0 (Austin Appleby, 2011; public domain): the hash of ONNX Runtime's
//! `com.microsoft.MurmurHash3` and of scikit-learn's `murmurhash3_32`.
//!
//! The function is frozen by its author. It is implemented here because the crates that have it read from streams or are
//! no longer maintained.

/// Returns the hash of some bytes.
pub(crate) fn murmur3_32(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<4>();
    let mut state: u32 = 0;
    for &word in words {
        state ^= scrambled(u32::from_le_bytes(word));
        state = state.rotate_left(13).wrapping_mul(5);
        state = state.wrapping_add(0xE654_6B64);
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    state ^= scrambled(u32::from_le_bytes(last));
    // The reference takes the length in 32 bits.
    finished(state ^ text.len() as u32)
}

fn scrambled(word: u32) -> u32 {
    let word = word.wrapping_mul(0xCC9E_2D51).rotate_left(15);
    word.wrapping_mul(0x1B87_3593)
}

fn finished(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xC2B2_AE35);
    hash ^ (hash >> 16)
}

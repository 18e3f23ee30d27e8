//! The rows of tables that one of several processes owns.

/// A share of the rows of every table, by a hash of the row number: row `id` belongs to the same share in every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableShare {
    /// Number of the share, from 0.
    pub index: usize,
    /// Number of shares, at least 1.
    pub of: usize,
}

impl TableShare {
    /// Returns the number of the share, among `of`, that row `id` belongs to.
    #[inline]
    pub fn owner(id: u32, of: usize) -> usize {
        ((u64::from(mixed(id)) * of as u64) >> 32) as usize
    }

    /// Returns true if row `id` belongs to this share.
    #[inline]
    pub fn owns(self, id: u32) -> bool {
        TableShare::owner(id, self.of) == self.index
    }
}

/// Mixes the bits of a number, one to one (the finaliser of MurmurHash3).
#[inline]
fn mixed(id: u32) -> u32 {
    let id = (id ^ (id >> 16)).wrapping_mul(0x85eb_ca6b);
    let id = (id ^ (id >> 13)).wrapping_mul(0xc2b2_ae35);
    id ^ (id >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_about_equal_and_together_all_rows() {
        for of in [1, 2, 3, 64] {
            for step in [1, 2, 64, 1000] {
                let mut n_rows = vec![0; of];
                let ids = (0..64_000).map(|i| i * step);
                ids.for_each(|id| n_rows[TableShare::owner(id, of)] += 1);
                let expected = 64_000 / of;
                let is_near = |n: &usize| n.abs_diff(expected) * 5 < expected.max(1);
                assert!(n_rows.iter().all(is_near), "{of}, {step}: {n_rows:?}");
            }
        }
        let owns = |index| TableShare { index, of: 3 }.owns(77);
        assert_eq!((0..3).filter(|&index| owns(index)).count(), 1);
    }
}

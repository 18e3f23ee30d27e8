//! Strength of the prior for rates: the method of moments of the beta-binomial distribution.

use super::Measure;

/// Upper bound of the prior's strength, in rows: used when rates do not differ significantly.
const MOST_STRENGTH: f64 = 1e6;

/// Sums over the keys of a state, from which its overall rate and the strength of its prior are computed.
///
/// The rate `p_i` of a key with `n_i` rows has variance `m (1 - m) / n_i (1 + (n_i - 1) r)`, where
/// `r = 1 / (k + 1)` is the correlation between two rows of a key. Summed over `K` keys with `N` rows and weighted
/// by `n_i`, minus the part that the estimate `m = P / N` of the mean removes,
///
/// ```text
/// sum n_i (p_i - m)^2 = m (1 - m) ((K - 1) + r (N - sum n_i^2 / N - (K - 1)))
/// ```
///
/// which is solved for `r` (Kleinman 1973, "Proportions with extraneous variance", JASA 68, with weights `n_i`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    keys: f64,
    rows: f64,
    positives: f64,
    /// Sum of `n^2`.
    squares: f64,
    /// Sum of `s^2 / n`, of `s` positives.
    shares: f64,
}

impl Moments {
    /// Adds a key.
    pub(super) fn add(&mut self, known: u32, positives: u32) {
        if known == 0 {
            return;
        }
        let (n, s) = (f64::from(known), f64::from(positives));
        self.keys += 1.0;
        self.rows += n;
        self.positives += s;
        self.squares += n * n;
        self.shares += s * s / n;
    }

    /// Rows of all keys.
    pub(super) fn rows(&self) -> f64 {
        self.rows
    }

    /// Returns the rate of a task by these sums.
    pub(super) fn task(&self, task: usize) -> Measure {
        Measure::Task {
            task,
            overall: (self.positives + 0.5) / (self.rows + 1.0),
            strength: self.strength(),
        }
    }

    fn strength(&self) -> f64 {
        let m = self.positives / self.rows;
        let spread = (self.shares - self.positives * m) / (m * (1.0 - m));
        let room = self.rows - self.squares / self.rows - (self.keys - 1.0);
        let correlation = (spread - (self.keys - 1.0)) / room;
        let strength = (1.0 - correlation) / correlation;
        // Not a number without rows or positives: then nothing is known of keys.
        if correlation > 0.0 && strength.is_finite() {
            strength.clamp(1.0 / MOST_STRENGTH, MOST_STRENGTH)
        } else {
            MOST_STRENGTH
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strength(moments: &Moments) -> f64 {
        match moments.task(0) {
            Measure::Task { strength, .. } => strength,
            Measure::Rows { .. } => f64::NAN,
        }
    }

    /// Returns a uniform number by a hash.
    fn uniform(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        let mixed = (*state ^ *state >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ mixed >> 32) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn the_strength_of_a_beta_distribution_is_found() {
        // The least of two uniform numbers is Beta(1, 2): mean 1/3, strength 3.
        let (mut state, mut moments) = (1, Moments::default());
        for key in 0..20_000u32 {
            let p = uniform(&mut state).min(uniform(&mut state));
            let n = 1 + key % 30;
            let positives = (0..n).filter(|_| uniform(&mut state) < p).count();
            moments.add(n, positives as u32);
        }
        assert!((strength(&moments) - 3.0).abs() < 0.15, "{moments:?}");
        match moments.task(7) {
            Measure::Task { task, overall, .. } => {
                assert!(task == 7 && (overall - 1.0 / 3.0).abs() < 0.01);
            }
            Measure::Rows { .. } => unreachable!("a task was asked for"),
        }
    }

    #[test]
    fn keys_of_one_rate_need_very_much_evidence() {
        let (mut state, mut moments) = (3, Moments::default());
        for _ in 0..20_000 {
            let positives = (0..10).filter(|_| uniform(&mut state) < 0.2).count();
            moments.add(10, positives as u32);
        }
        assert!(strength(&moments) > 300.0, "{}", strength(&moments));
        assert_eq!(strength(&Moments::default()), MOST_STRENGTH);
        let mut none = Moments::default();
        none.add(5, 0);
        assert_eq!(strength(&none), MOST_STRENGTH);
    }
}

//! Learning-rate schedule: a linear warm-up, then decay to a floor.

use crate::plan::{Decay, Schedule};
use std::f64::consts::PI;

impl Schedule {
    /// Returns the factor of the learning rate at `step` (from 0) of a run of `total_steps`, in [0, 1].
    ///
    /// Warm-up gives `(step + 1) / warmup_steps`, so that the first step has a non-zero rate and the last of the
    /// warm-up has the full rate. The decay begins with the full rate at step `warmup_steps` and reaches
    /// the floor at step `total_steps - 1`, where it stays.
    pub fn factor(&self, step: u64, total_steps: u64) -> f64 {
        if step < self.warmup_steps {
            return (step + 1) as f64 / self.warmup_steps as f64;
        }
        let way = self.way(step, total_steps);
        match self.decay {
            Decay::None {} => 1.0,
            Decay::Linear { floor } => fall_to(floor, way),
            Decay::Cosine { floor } => fall_to(floor, (1.0 - (PI * way).cos()) / 2.0),
        }
    }

    /// Returns the completed fraction of the steps from the end of the warm-up to the last step, in [0, 1].
    fn way(&self, step: u64, total_steps: u64) -> f64 {
        let last = total_steps.saturating_sub(1);
        if step >= last {
            return 1.0;
        }
        (step - self.warmup_steps) as f64 / (last - self.warmup_steps) as f64
    }
}

/// Decays from 1 (`fallen` = 0) to the floor (`fallen` = 1), which is reached exactly.
fn fall_to(floor: f64, fallen: f64) -> f64 {
    (1.0 - fallen) + floor * fallen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(warmup_steps: u64, decay: Decay, total_steps: u64, expected: &[f64]) {
        let schedule = Schedule {
            warmup_steps,
            decay,
        };
        for (step, &expected) in expected.iter().enumerate() {
            let factor = schedule.factor(step as u64, total_steps);
            assert!(
                (factor - expected).abs() < 1e-12,
                "step {step}: {factor}, not {expected}"
            );
        }
    }

    #[test]
    fn without_warm_up_or_fall_the_rate_is_whole() {
        check(0, Decay::None {}, 3, &[1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn warm_up_rises_by_equal_steps_to_the_whole_rate() {
        check(4, Decay::None {}, 6, &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_line_falls_from_the_end_of_the_warm_up_to_the_floor() {
        let decay = Decay::Linear { floor: 0.5 };
        check(0, decay, 5, &[1.0, 0.875, 0.75, 0.625, 0.5, 0.5]);
        check(2, decay, 5, &[0.5, 1.0, 1.0, 0.75, 0.5, 0.5]);
    }

    #[test]
    fn half_a_cosine_falls_slowly_fast_and_slowly() {
        // cos of 0, 60, 120 and 180 degrees: 1, 1/2, -1/2, -1.
        check(
            0,
            Decay::Cosine { floor: 0.0 },
            4,
            &[1.0, 0.75, 0.25, 0.0, 0.0],
        );
        check(
            1,
            Decay::Cosine { floor: 0.5 },
            5,
            &[1.0, 1.0, 0.875, 0.625, 0.5, 0.5],
        );
    }

    #[test]
    fn a_run_that_ends_with_its_warm_up_has_no_fall() {
        check(4, Decay::Linear { floor: 0.0 }, 3, &[0.25, 0.5, 0.75]);
        check(2, Decay::Cosine { floor: 0.25 }, 3, &[0.5, 1.0, 0.25]);
        check(0, Decay::Linear { floor: 0.25 }, 0, &[0.25]);
    }

    #[test]
    fn a_factor_is_never_below_the_floor_nor_above_one_and_only_falls_after_the_warm_up() {
        for floor in [0.0, 1e-30, 0.1, 0.3, 0.7, 0.999_999_94, 1.0] {
            for decay in [
                Decay::None {},
                Decay::Linear { floor },
                Decay::Cosine { floor },
            ] {
                for (warmup_steps, total_steps) in [
                    (0, 1),
                    (0, 97),
                    (1, 50),
                    (13, 60),
                    (60, 60),
                    (90, 60),
                    (0, u64::MAX),
                ] {
                    check_range(
                        Schedule {
                            warmup_steps,
                            decay,
                        },
                        floor,
                        total_steps,
                    );
                }
            }
        }
    }

    #[track_caller]
    fn check_range(schedule: Schedule, floor: f64, total_steps: u64) {
        let mut before = 1.0;
        for step in (0..120).chain([u64::MAX / 2, u64::MAX - 1, u64::MAX]) {
            let factor = schedule.factor(step, total_steps);
            assert!(
                (0.0..=1.0).contains(&factor),
                "{schedule:?} at {step}: {factor}"
            );
            if step >= schedule.warmup_steps {
                assert!(factor >= floor - 1e-15, "{schedule:?} at {step}: {factor}");
                assert!(
                    factor <= before + 1e-15,
                    "{schedule:?} rises at {step}: {factor}"
                );
                before = factor;
            }
        }
        if total_steps > schedule.warmup_steps && schedule.decay != (Decay::None {}) {
            assert_eq!(schedule.factor(total_steps - 1, total_steps), floor);
        }
    }
}

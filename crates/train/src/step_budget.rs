//! Length of a training in steps and epochs, and its validation schedule.

/// Number of steps and validations of a training; a step is one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBudget {
    /// Batches of one pass over the rows, at least 1.
    pub batches_per_epoch: u64,
    /// Maximum number of steps, at least 1.
    pub total_steps: u64,
    /// Validations an epoch; 0: only at the end.
    pub validations_per_epoch: u64,
}

impl StepBudget {
    /// Returns a budget in epochs, which may be a fraction.
    pub fn of_epochs(
        batches_per_epoch: u64,
        epochs: f64,
        validations_per_epoch: u64,
    ) -> StepBudget {
        let batches_per_epoch = batches_per_epoch.max(1);
        let total = (batches_per_epoch as f64 * epochs).round() as u64;
        StepBudget {
            batches_per_epoch,
            total_steps: total.max(1),
            validations_per_epoch,
        }
    }

    /// The epoch, from 0, of the step after `done` steps.
    pub fn epoch(&self, done: u64) -> u64 {
        done / self.batches_per_epoch
    }

    /// The batch in its epoch, from 0, of the step after `done` steps.
    pub fn batch(&self, done: u64) -> u64 {
        done % self.batches_per_epoch
    }

    /// Returns the number of epochs in `done` steps.
    pub fn epochs(&self, done: u64) -> f64 {
        done as f64 / self.batches_per_epoch as f64
    }

    /// Returns true if validation is due after `done` steps: at equal distances, the ends of epochs included, and
    /// at the end.
    pub fn validates_after(&self, done: u64) -> bool {
        let (per_epoch, n) = (self.validations_per_epoch, self.batches_per_epoch);
        let reached = |done: u64| done * per_epoch / n;
        done >= self.total_steps || reached(done) > reached(done - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validations_lie_at_equal_distances_and_at_the_end() {
        let check = |budget: StepBudget, expected: &[u64]| {
            let steps = 1..=budget.total_steps;
            let found: Vec<u64> = steps.filter(|&done| budget.validates_after(done)).collect();
            assert_eq!(found, expected);
        };
        check(StepBudget::of_epochs(10, 2.0, 2), &[5, 10, 15, 20]);
        check(StepBudget::of_epochs(10, 1.0, 3), &[4, 7, 10]);
        check(StepBudget::of_epochs(10, 1.25, 1), &[10, 13]);
        check(StepBudget::of_epochs(10, 0.5, 0), &[5]);
        check(StepBudget::of_epochs(3, 1.0, 5), &[1, 2, 3]);
        check(StepBudget::of_epochs(3, 0.01, 1), &[1]);
    }

    #[test]
    fn a_step_knows_its_epoch_and_batch() {
        let budget = StepBudget::of_epochs(10, 2.0, 1);
        assert_eq!((budget.epoch(0), budget.batch(0)), (0, 0));
        assert_eq!((budget.epoch(13), budget.batch(13)), (1, 3));
        assert_eq!(budget.epochs(15), 1.5);
    }
}

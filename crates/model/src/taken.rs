//! What a task takes of another task's logit.
//!
//! `z_to = f_to(x) + kappa (z_from - mean)`: the tasks meet behind their heads, by one learned number. In training no
//! gradient goes back through `z_from`; `mean` is that of `z_from` over the rows of the task that takes, so that what
//! is taken tells rows apart and does not shift them.

use crate::artifact::Artifact;
use crate::network::Network;
use crate::number::Real;

/// The numbers behind the heads of a network whose second task takes in the first one's logit
/// ([`crate::plan::Heads::takes`]).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TakenLogit {
    /// How much of the other logit is taken.
    pub kappa: f64,
    /// The mean of the other logit over the rows of the task that takes.
    pub mean: f64,
    /// The information about kappa in about one pass over the training labels, everything else being as it is: of a
    /// cross-entropy `sum p (1 - p) (z_from - mean)^2`.
    pub information: f64,
}

impl TakenLogit {
    /// How many numbers of a network it takes.
    pub(crate) const NUMBERS: usize = 3;

    fn of<R: Real>(numbers: &[R]) -> Option<TakenLogit> {
        let [kappa, mean, information] = numbers else {
            return None;
        };
        Some(TakenLogit {
            kappa: kappa.wide(),
            mean: mean.wide(),
            information: information.wide(),
        })
    }

    /// The logit of the task that takes, from what its head says and the other task's logit.
    pub fn add(self, own: f64, other: f64) -> f64 {
        own + self.kappa * (other - self.mean)
    }

    /// The standard error of kappa, everything else being as it is; `None` before the first step.
    pub fn error(self) -> Option<f64> {
        (self.information > 0.0).then(|| self.information.sqrt().recip())
    }
}

impl<R: Real> Network<R> {
    /// The tasks `[from, to]` of which the second takes the first one's logit in, and by how much.
    pub fn taken(&self) -> Option<([usize; 2], TakenLogit)> {
        let tasks = self.spec.takes()?;
        let taken = TakenLogit::of(&self.dense[self.layout.taken.clone()])?;
        Some((tasks, taken))
    }

    /// Sets how much is taken; nothing where no task takes.
    pub fn set_taken(&mut self, taken: TakenLogit) {
        let numbers = [taken.kappa, taken.mean, taken.information];
        let places = &mut self.dense[self.layout.taken.clone()];
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = R::of(number);
        }
    }
}

impl Artifact {
    /// The tasks `[from, to]` of which the second takes the first one's logit in, and by how much in the weights that
    /// answer for it; `None` where no task takes, or its weights are of another network.
    pub fn taken(&self) -> Option<([usize; 2], TakenLogit)> {
        let tasks = self.spec.takes()?;
        let member = self.members.get(*self.of_task.get(tasks[1])?)?;
        // These numbers come last.
        let dense = &member.weights.dense;
        let first = dense.len().checked_sub(TakenLogit::NUMBERS)?;
        Some((tasks, TakenLogit::of(&dense[first..])?))
    }
}

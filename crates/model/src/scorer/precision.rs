//! The precision of scoring, and whether a model's scores allow the lower one.

use super::{RankBuffers, Ranker, Scorer};
use crate::kernels::{LANES, SimdLevel};
use crate::self_test::SelfTest;
use std::sync::Arc;

/// Precision in which a [`Ranker`] computes the hidden layers of many candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    #[default]
    Single,
    /// bfloat16 weights and activations, sums in single precision: see [`Ranker::in_half`].
    Half,
}

/// Maximum difference of a probability (or ratio) in half precision from single precision, on the rows of a model's
/// self-test.
pub const HALF_TOLERANCE: f32 = 2e-3;

/// Reason why a model cannot be scored in half precision.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HalfError {
    /// Half precision would be slower.
    #[error(
        "this processor has no bfloat16 instructions (AVX-512 BF16), without which it is slower"
    )]
    Processor,
    /// The network is not scored by a [`Ranker`].
    #[error("this network cannot be scored in half precision: it is not one stack of layers")]
    Network,
    /// The model has no self-test to compare scores on.
    #[error("the model has no self-test, on whose rows both precisions are compared; train again")]
    NoTest,
    /// The rows of the self-test cannot be encoded.
    #[error("{0}")]
    Rows(String),
    /// A score differs too much.
    #[error(
        "a score of the self-test differs by {difference:e} in half precision, by more than \
         {HALF_TOLERANCE:e}; score this model in single precision"
    )]
    Difference {
        /// The largest difference.
        difference: f32,
    },
}

impl Precision {
    /// Creates a ranker in this precision, as [`Ranker::new`].
    pub fn ranker(self, scorer: &Arc<Scorer>, context: &[usize]) -> Option<Ranker> {
        match self {
            Precision::Single => Ranker::new(scorer, context),
            Precision::Half => Ranker::in_half(scorer, context),
        }
    }

    /// Checks that a model can be scored in this precision: half precision must be fast on this processor, and change
    /// no score of the self-test by more than [`HALF_TOLERANCE`].
    ///
    /// # Errors
    /// The first reason why it cannot.
    pub fn check(self, scorer: &Arc<Scorer>, test: Option<&SelfTest>) -> Result<(), HalfError> {
        if self == Precision::Single {
            return Ok(());
        }
        if !SimdLevel::best().has_half() {
            return Err(HalfError::Processor);
        }
        let test = test.ok_or(HalfError::NoTest)?;
        let difference = half_difference(scorer, test)?;
        // A NaN differs from any score.
        if difference.is_nan() || difference > HALF_TOLERANCE {
            return Err(HalfError::Difference { difference });
        }
        Ok(())
    }
}

/// Returns the largest difference of a score of the self-test in half precision; NaN if a score is NaN.
fn half_difference(scorer: &Arc<Scorer>, test: &SelfTest) -> Result<f32, HalfError> {
    let rows = test.batch(scorer).map_err(HalfError::Rows)?;
    // Fewer rows than fill a tile would be scored in single precision.
    let places = 0..rows.n_rows.next_multiple_of(LANES).max(LANES);
    let places: Vec<usize> = places.map(|place| place % rows.n_rows.max(1)).collect();
    if rows.n_rows == 0 {
        return Err(HalfError::NoTest);
    }
    let rows = rows.select(&places);
    let score = |precision: Precision| {
        let ranker = precision.ranker(scorer, &[]).ok_or(HalfError::Network)?;
        let mut scores = vec![Vec::new(); scorer.spec().tasks.len()];
        let context = rows.select(&[0]);
        ranker.score(&context, &rows, &mut RankBuffers::default(), &mut scores);
        Ok(scores)
    };
    let (single, half) = (score(Precision::Single)?, score(Precision::Half)?);
    let tasks = single.iter().zip(&half).enumerate();
    let differences = tasks.flat_map(|(task, (single, half))| {
        let link = scorer.spec().link(task);
        let difference =
            move |(a, b): (&f32, &f32)| (a - b).abs() / link.unit(f64::from(*a)) as f32;
        single.iter().zip(half).map(difference)
    });
    Ok(differences.max_by(f32::total_cmp).unwrap_or(0.0))
}

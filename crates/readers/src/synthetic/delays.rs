//! Conversions that come late, by a law that depends on a feature.

use super::SyntheticError;

/// Delays of the conversions of a log with days. A conversion comes after an exponential time, given that this is within
/// the window, whose scale depends on the row's `delivery`: see [`ConversionDelays::scale`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConversionDelays {
    /// Scale of the delays in days, above 0: that of a delivery in the middle.
    pub days: f64,
    /// All conversions come within so many days, above 0.
    pub window_days: f64,
}

/// Values of `delivery`.
const DELIVERIES: f64 = 8.0;

/// The slowest delivery over the one in the middle.
const SPREAD: f64 = 4.0;

impl ConversionDelays {
    pub(super) fn check(&self) -> Result<(), SyntheticError> {
        let settings = [("delays", self.days), ("window", self.window_days)];
        let is_wrong = |(_, days): &(&str, f64)| !(*days > 0.0 && days.is_finite());
        match settings.into_iter().find(is_wrong) {
            None => Ok(()),
            Some((setting, days)) => Err(SyntheticError::Setting {
                setting,
                wanted: "a number of days above 0",
                found: days.to_string(),
            }),
        }
    }

    /// Returns the scale of the delays of a delivery (0 to 7) in days: `days` times 4 to the power of -1 to 1.
    pub fn scale(&self, delivery: u32) -> f64 {
        self.days * SPREAD.powf(2.0 * f64::from(delivery) / (DELIVERIES - 1.0) - 1.0)
    }

    /// Returns the chance that the conversion of a row of this delivery comes within `days`.
    pub fn share(&self, delivery: u32, days: f64) -> f64 {
        let within = |days: f64| -(-days / self.scale(delivery)).exp_m1();
        within(days.clamp(0.0, self.window_days)) / within(self.window_days)
    }

    /// Returns the delay in days at which [`ConversionDelays::share`] is `share`.
    pub(super) fn delay(&self, delivery: u32, share: f64) -> f64 {
        let scale = self.scale(delivery);
        let of_all = -(-self.window_days / scale).exp_m1();
        -scale * (-share * of_all).ln_1p()
    }
}

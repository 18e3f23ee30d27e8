//! A value that is 0 or log-normal, by three outputs of the network (ZILN, Wang et al. 2019,
//! <https://arxiv.org/abs/1912.07753>): the logit `a` of the chance of a value above 0, and the location `mu` and shape
//! `s` of its logarithm, of standard deviation `sigma = ln(1 + e^s)`.

use crate::objective::sigmoid;

/// Number of outputs: `a`, `mu`, `s`.
pub const OUTPUTS: usize = 3;

/// Smallest standard deviation, the root of the precision of `f32`, as in the authors' code.
pub const LEAST_SIGMA: f64 = 3.452_669_8e-4;

/// Returns `ln(1 + e^x)`, without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Returns the standard deviation of the logarithm, and its derivative with respect to `s`.
pub fn sigma(s: f64) -> (f64, f64) {
    let sigma = softplus(s);
    match sigma > LEAST_SIGMA {
        true => (sigma, sigmoid(s)),
        false => (LEAST_SIGMA, 0.0),
    }
}

/// Returns the logarithm of the mean, `ln p + mu + sigma^2 / 2`, with `p = 1 / (1 + e^-a)`, in units of the objective.
pub fn log_mean([a, mu, s]: [f64; OUTPUTS]) -> f64 {
    let (sigma, _) = sigma(s);
    mu + sigma * sigma / 2.0 - softplus(-a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_law() {
        // p = 0.5, mu = ln 3, sigma = ln 2.
        let found = log_mean([0.0, 3.0_f64.ln(), 0.0]).exp();
        let expected = 0.5 * 3.0 * (2.0_f64.ln().powi(2) / 2.0).exp();
        assert!((found - expected).abs() < 1e-12, "{found}");
        assert!((log_mean([800.0, 1.0, -800.0]) - 1.0).abs() < 1e-6);
        assert!((log_mean([-800.0, 1.0, -800.0]) + 799.0).abs() < 1e-6);
    }

    #[test]
    fn the_deviation_has_its_derivative() {
        for s in [-7.0, -1.0, 0.0, 2.0, 30.0] {
            let h = 1e-6;
            let expected = (sigma(s + h).0 - sigma(s - h).0) / (2.0 * h);
            assert!((sigma(s).1 - expected).abs() < 1e-7, "{s}");
        }
        assert_eq!(sigma(-20.0), (LEAST_SIGMA, 0.0));
    }
}

//! Number formatting.

use crate::cells::{ResultCell, ResultColumn};

/// Placeholder for a figure that does not apply.
pub(crate) const ABSENT: &str = "–";

/// Formats `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a value with this many decimals; a dash if it is not finite.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() {
        format!("{value:.decimals$}")
    } else {
        ABSENT.to_string()
    }
}

/// Formats a duration: `45 s`, `3 min 20 s`, `2 h 5 min`; below ten seconds with one decimal.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Formats `0.0312` as `3.1 %`, with more digits for small shares.
pub fn percent(share: f64) -> String {
    let decimals = match share.abs() {
        small if small < 0.001 && small > 0.0 => 3,
        small if small < 0.01 && small > 0.0 => 2,
        _ => 1,
    };
    if share.is_finite() {
        format!("{} %", fixed(100.0 * share, decimals))
    } else {
        ABSENT.to_string()
    }
}

/// Formats a p-value with its relation: `= 0.004` or `< 0.001`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("= {}", fixed(p, 3))
    }
}

/// Formats a figure without its interval.
pub(crate) fn cell_value(cell: &ResultCell, column: &ResultColumn) -> String {
    match cell.value {
        None => ABSENT.to_string(),
        Some(count) if column.decimals == 0 && count >= 0.0 => thousands(count as u64),
        Some(value) => fixed(value, column.decimals),
    }
}

/// Formats the interval as `[low, high]`, if there is one.
pub(crate) fn cell_interval(cell: &ResultCell, column: &ResultColumn) -> Option<String> {
    let end = |value| fixed(value, column.decimals);
    cell.interval
        .map(|[low, high]| format!("[{}, {}]", end(low), end(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let grouped = [0, 999, 1000, 1234567].map(thousands);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn small_shares_get_more_digits() {
        let formatted = [0.5, 0.0312, 0.00312, 0.000_312, 0.0, f64::NAN].map(percent);
        assert_eq!(
            formatted,
            ["50.0 %", "3.1 %", "0.31 %", "0.031 %", "0.0 %", "–"]
        );
    }
}

//! UTC times in file names and messages.

use std::time::SystemTime;

/// Formats a time for file names: `20260314T070809Z`.
pub(crate) fn stamp(time: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = parts(time);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Formats a time for messages: `2026-03-14 07:08:09 UTC`.
pub(crate) fn utc(time: SystemTime) -> String {
    let [year, month, day, hour, minute, second] = parts(time);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn parts(time: SystemTime) -> [u64; 6] {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    let [year, month, day] = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    [year, month, day, hour, minute, second]
}

/// Returns year, month and day from days since 1 January 1970: Howard Hinnant's `civil_from_days`, with years
/// that start in March and eras of 400 years.
fn date(days: u64) -> [u64; 3] {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    [era * 400 + year_of_era + u64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_stamps_sort_by_time() {
        let check = |seconds: u64, expected: &str| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(stamp(time), expected);
        };
        check(0, "19700101T000000Z");
        check(951_782_400, "20000229T000000Z");
        check(951_868_800, "20000301T000000Z");
        check(1_735_689_599, "20241231T235959Z");
        check(1_773_472_089, "20260314T070809Z");
        check(4_107_542_400, "21000301T000000Z");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_773_472_089);
        assert_eq!(utc(time), "2026-03-14 07:08:09 UTC");
    }
}

//! UTC times in file names.

use std::time::SystemTime;

use jiff::Timestamp;

/// Formats a time for file names: `20260314T070809Z`. Times before 1970 are shown as its start.
pub(crate) fn stamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    let time = time.max(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
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
    }
}

//! Dates as Java prints them (`java.util.Date.toString`), in UTC.

use jiff::Timestamp;

/// `Sat Nov 21 14:32:31 UTC 2026` of a time in ms since 1970; the bare number beyond the year 9999.
pub(super) fn text(wall_ms: i64) -> String {
    Timestamp::from_millisecond(wall_ms).map_or_else(
        |_| wall_ms.to_string(),
        |time| time.strftime("%a %b %d %H:%M:%S UTC %Y").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_java() {
        for (wall_ms, want) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_795_271_551_999, "Sat Nov 21 14:32:31 UTC 2026"),
            (4_107_542_399_000, "Sun Feb 28 23:59:59 UTC 2100"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(text(wall_ms), want);
        }
    }
}

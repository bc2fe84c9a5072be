//! Dates of replies as IMF-fixdate (RFC 9110 §5.6.7).

use std::fmt;

/// The value of a `Date` header, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// The date of a moment in seconds since 1 January 1970, 00:00 UTC. Moments after the year 9999,
    /// which has the last date that can be written, become its last second.
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let seconds = seconds.min(LAST_SECOND);
        let (days, second_of_day) = (seconds / DAY_S, seconds % DAY_S);
        let (year, month, day) = civil_date(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        text[..3].copy_from_slice(name(DAYS, days % 7));
        put_two(&mut text, 5, day);
        text[8..11].copy_from_slice(name(MONTHS, month));
        put_two(&mut text, 12, year / 100);
        put_two(&mut text, 14, year % 100);
        put_two(&mut text, 17, second_of_day / 3600);
        put_two(&mut text, 20, second_of_day / 60 % 60);
        put_two(&mut text, 23, second_of_day % 60);
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.0
    }
}

impl fmt::Debug for HttpDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "HttpDate({})", self.0.escape_ascii())
    }
}

/// Year, month from 0, and day from 1 of a day since 1970. Counted from 1 March of a year that is
/// divisible by 400, so that the leap day is the last of its year, of its four and of its 400.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let since = days + DAYS_FROM_0000_03_01;
    let (era, day_of_era) = (since / DAYS_OF_400_YEARS, since % DAYS_OF_400_YEARS);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31 and 30 days in turns of five months with 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month, day)
}

/// The three letters of entry `index`.
fn name(names: &[u8], index: u64) -> &[u8] {
    let at = usize::try_from(index).map_or(0, |index| index * 3);
    names.get(at..at + 3).unwrap_or(b"???")
}

fn put_two(text: &mut [u8; 29], at: usize, number: u64) {
    let digit = |number: u64| b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
    text[at] = digit(number / 10);
    text[at + 1] = digit(number);
}

const DAY_S: u64 = 86_400;
/// 31 December 9999, 23:59:59.
const LAST_SECOND: u64 = 253_402_300_799;
const DAYS_FROM_0000_03_01: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;
/// From the day of 1 January 1970 on.
const DAYS: &[u8] = b"ThuFriSatSunMonTueWed";
const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(seconds: u64) -> String {
        String::from_utf8(HttpDate::from_unix_seconds(seconds).as_bytes().to_vec()).unwrap()
    }

    /// The naive twin: counts years and months one by one.
    fn naive_date(seconds: u64) -> String {
        let is_leap =
            |year: u64| year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
        let (mut day, mut year, mut month) = (seconds / 86_400, 1970, 0);
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(day % 7) as usize];
        while day >= 365 + u64::from(is_leap(year)) {
            day -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let february = 28 + u64::from(is_leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        let names =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let day = day + 1;
        let name = names[month];
        format!("{weekday}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    #[test]
    fn dates_are_written_as_in_rfc_9110_section_5_6_7() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        for late in [LAST_SECOND, LAST_SECOND + 1, u64::MAX] {
            assert_eq!(date(late), "Fri, 31 Dec 9999 23:59:59 GMT");
        }
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_naive_twin(seconds in 0..=LAST_SECOND) {
            prop_assert_eq!(date(seconds), naive_date(seconds));
        }

        #[test]
        fn days_follow_each_other_as_by_the_naive_twin(day in 0..60_000_u64) {
            for second in [day * DAY_S, day * DAY_S + DAY_S - 1] {
                prop_assert_eq!(date(second), naive_date(second));
            }
        }
    }
}

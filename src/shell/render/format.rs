//! Sizes, durations, times of day and counts, each written one way everywhere.

use super::Style;

/// Bytes of a block of a content's files.
pub const BLOCK_BYTES: i64 = 4096;

/// `1.2 MiB`, `88 MiB`, `512 MiB`, `0.1 GiB`: one decimal below ten, none above.
pub fn bytes(n: i64) -> String {
    let (value, unit) = scaled(n);
    format!("{value} {unit}")
}

/// `1.2 of 512 MiB`: both in the unit of the larger.
pub fn bytes_of(part: i64, whole: i64) -> String {
    let (value, unit) = scaled(whole);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map_or(1, |u| u.1);
    let part = if part <= 0 { "0".to_string() } else { one_decimal(part as f64 / factor as f64) };
    format!("{part} of {value} {unit}")
}

const UNITS: [(&str, i64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn scaled(n: i64) -> (String, &'static str) {
    let n = n.max(0);
    for (unit, factor) in UNITS {
        // A value that would be written `1024 KiB` after rounding belongs to the next unit.
        if factor == 1 || n as f64 >= factor as f64 * 0.9995 {
            let value = n as f64 / factor as f64;
            let text = if factor == 1 { n.to_string() } else { one_decimal(value) };
            return (text, unit);
        }
    }
    ("0".to_string(), "B")
}

fn one_decimal(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// The size of a number of blocks.
pub fn blocks(n: i64) -> String {
    bytes(n.saturating_mul(BLOCK_BYTES))
}

/// An elapsed time as a person says it: `0.21 s`, `1.9 s`, `40 s`, `2m10s`, `3h05m`, `2d4h`.
pub fn elapsed_ms(ms: i64) -> String {
    let ms = ms.max(0);
    let s = (ms + 500) / 1000;
    match ms {
        0..=994 => format!("{:.2} s", ms as f64 / 1000.0),
        995..=9_949 => format!("{:.1} s", ms as f64 / 1000.0),
        _ if s < 60 => format!("{s} s"),
        _ if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ if s < 86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// An age, where a tenth of a second is as fine as anyone wants it: `0.3 s`, `40 s`, `2m10s`.
pub fn age_ms(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..=9_949 => format!("{:.1} s", ms as f64 / 1000.0),
        ms => elapsed_ms(ms),
    }
}

/// What a step will about take; an estimate is never finer than a tenth of a second.
pub fn estimate_ms(ms: i64) -> String {
    age_ms(ms.max(100))
}

/// A time still to come, rounded up to whole seconds: `1 s`, `40 s`, `2m10s`.
pub fn remaining_ms(ms: i64) -> String {
    let s = (ms.max(0) + 999) / 1000;
    if s < 60 { format!("{s} s") } else { elapsed_ms(s * 1000) }
}

/// A pause in milliseconds without its unit: `12`, `1.4`, `0.9`, `0.02`.
pub fn pause_us(us: i64) -> String {
    let ms = us.max(0) as f64 / 1000.0;
    match us {
        ..=0 => return "0".to_string(),
        950.. => return one_decimal(ms),
        _ => {}
    }
    // What was there is never shown as nothing.
    let text = format!("{:.2}", ms.max(0.01));
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// `14:03:20` on the clock of the person who looks.
pub fn clock(unix_ms: i64, style: &Style) -> String {
    let s = (unix_ms.div_euclid(1000) + style.utc_offset_s).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60)
}

/// When something was, as seen at `now_ms`: the time of day, with the date when it is another day.
pub fn when(unix_ms: i64, now_ms: i64, style: &Style) -> String {
    let day = |ms: i64| (ms.div_euclid(1000) + style.utc_offset_s).div_euclid(86_400);
    let clock = clock(unix_ms, style);
    if day(unix_ms) == day(now_ms) {
        return clock;
    }
    let (y, m, d) = crate::core::calendar::civil(day(unix_ms));
    format!("{y:04}-{m:02}-{d:02} {clock}")
}

/// `1 segment`, `2 segments`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `content 2` or `contents 0, 2`.
pub fn contents(list: &[crate::core::ids::Content]) -> String {
    let words: Vec<String> = list.iter().map(ToString::to_string).collect();
    let noun = if list.len() == 1 { "content" } else { "contents" };
    format!("{noun} {}", words.join(", "))
}

/// Percent, never 100 before all of it is there.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 100;
    }
    (u128::from(part.min(whole)) * 100 / u128::from(whole)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_below_ten_and_the_unit_a_person_would_choose() {
        let table = [
            (0, "0 B"),
            (1, "1 B"),
            (4096, "4.0 KiB"),
            (307 * 4096, "1.2 MiB"),
            (88 << 20, "88 MiB"),
            (512 << 20, "512 MiB"),
            (1 << 30, "1.0 GiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (3 << 40, "3.0 TiB"),
        ];
        for (n, text) in table {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(bytes_of(0, 4096), "0 of 4.0 KiB");
        assert_eq!(bytes_of(307 * 4096, 512 << 20), "1.2 of 512 MiB");
    }

    #[test]
    fn durations_lose_precision_as_they_grow() {
        let table = [
            (210, "0.21 s"),
            (1_900, "1.9 s"),
            (40_000, "40 s"),
            (130_000, "2m10s"),
            (3 * 3_600_000 + 5 * 60_000, "3h05m"),
            (2 * 86_400_000 + 4 * 3_600_000, "2d4h"),
        ];
        for (ms, text) in table {
            assert_eq!(elapsed_ms(ms), text);
        }
        assert_eq!(age_ms(300), "0.3 s");
        assert_eq!(remaining_ms(400), "1 s");
    }

    #[test]
    fn a_pause_has_at_most_two_digits_behind_the_point() {
        let table = [(0, "0"), (4, "0.01"), (20, "0.02"), (46, "0.05"), (123, "0.12"), (900, "0.9")];
        for (us, text) in table {
            assert_eq!(pause_us(us), text);
        }
        assert_eq!((pause_us(996), pause_us(1_400), pause_us(12_300)), ("1.0".into(), "1.4".into(), "12".into()));
    }

    #[test]
    fn another_day_is_named() {
        let style = Style::default();
        let now = 1_763_766_000_000; // 2025-11-21 23:00:00 UTC
        assert_eq!(when(now - 1000, now, &style), "22:59:59");
        assert_eq!(when(now - 86_400_000, now, &style), "2025-11-20 23:00:00");
        assert_eq!(when(0, now, &style), "1970-01-01 00:00:00");
        assert_eq!(when(951_782_400_000, now, &style), "2000-02-29 00:00:00");
    }

    #[test]
    fn percent_reaches_100_only_at_the_end() {
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 100);
        assert_eq!(percent(0, 0), 100);
    }
}

//! Sizes and shares as the utilities write them.

/// The units, each 1024 of the one before.
const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];

/// Three significant digits: `0 bytes`, `1 byte`, `1.27 kB`, `12.9 MB`, `126 GB`.
pub fn size(bytes: i64) -> String {
    let bytes = bytes.max(0);
    match bytes {
        1 => return "1 byte".into(),
        ..1024 => return format!("{bytes} bytes"),
        _ => {}
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 is one of the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if value < 9.995 => 2,
        _ if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A share of a whole: `37.50%`. All of nothing is everything.
pub fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 100.0 } else { part.min(whole) as f64 * 100.0 / whole as f64 };
    format!("{share:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_three_significant_digits() {
        for (bytes, written) in [
            (-1, "0 bytes"),
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.00 kB"),
            (1300, "1.27 kB"),
            (13_526_630, "12.9 MB"),
            (128 << 20, "128 MB"),
            (96 << 20, "96.0 MB"),
            (1000 << 20, "0.98 GB"),
            (126 << 30, "126 GB"),
            (i64::MAX, "8192 PB"),
        ] {
            assert_eq!(size(bytes), written, "{bytes}");
        }
    }

    #[test]
    fn a_share_never_exceeds_the_whole() {
        assert_eq!(percent(3, 8), "37.50%");
        assert_eq!(percent(9, 8), "100.00%");
        assert_eq!(percent(0, 0), "100.00%");
    }
}

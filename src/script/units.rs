//! Durations, sizes and rates: strings with a unit. A bare number is refused, because nobody can see
//! whether 10 means seconds or minutes.

use thiserror::Error;

/// Why a text is not a quantity.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UnitError {
    #[error("`{text}` has no unit; write \"{example}\"")]
    NoUnit { text: String, example: &'static str },
    #[error("`{unit}` is not a unit of {what}; write \"{example}\"")]
    UnknownUnit { unit: String, what: &'static str, example: &'static str },
    #[error("`{text}` is not a number with a unit; write \"{example}\"")]
    NotANumber { text: String, example: &'static str },
    #[error("`{text}` is out of range")]
    OutOfRange { text: String },
}

struct Scale {
    what: &'static str,
    example: &'static str,
    units: &'static [(&'static str, i64)],
}

const DURATION: Scale = Scale {
    what: "time",
    example: "10m",
    units: &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
};

const SIZE: Scale = Scale {
    what: "size",
    example: "256 MiB",
    units: &[
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ],
};

/// `"10m"`, `"1h 30m"`, `"250 ms"` in milliseconds.
pub fn duration_ms(text: &str) -> Result<i64, UnitError> {
    parse(text, &DURATION)
}

/// `"256 MiB"` in bytes.
pub fn size_bytes(text: &str) -> Result<i64, UnitError> {
    parse(text, &SIZE)
}

/// `"50 MiB/s"` in bytes per second.
pub fn rate_bytes(text: &str) -> Result<i64, UnitError> {
    let no_unit = || UnitError::NoUnit { text: text.trim().to_string(), example: "50 MiB/s" };
    let size = text.trim().strip_suffix("/s").ok_or_else(no_unit)?;
    parse(size, &SIZE)
}

/// Reads one or more numbers, each with its unit, and adds them up.
fn parse(text: &str, scale: &Scale) -> Result<i64, UnitError> {
    let whole = text.trim();
    let not_a_number = || UnitError::NotANumber { text: whole.to_string(), example: scale.example };
    let mut rest = whole;
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(not_a_number());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| not_a_number())?;
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = &after[..letters];
        if unit.is_empty() {
            return Err(UnitError::NoUnit { text: whole.to_string(), example: scale.example });
        }
        let factor = factor(unit, scale)?;
        let value = number * factor as f64;
        // 2^53 is where f64 stops counting one by one; no quantity here comes near it.
        if value > 9e15 {
            return Err(UnitError::OutOfRange { text: whole.to_string() });
        }
        total = total.saturating_add(value.round() as i64);
        rest = after[letters..].trim_start();
    }
    Ok(total)
}

fn factor(unit: &str, scale: &Scale) -> Result<i64, UnitError> {
    scale.units.iter().find(|(name, _)| *name == unit).map(|(_, f)| *f).ok_or_else(|| UnitError::UnknownUnit {
        unit: unit.to_string(),
        what: scale.what,
        example: scale.example,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_with_a_unit_are_read() {
        assert_eq!(duration_ms("10m"), Ok(600_000));
        assert_eq!(duration_ms(" 1h 30m "), Ok(5_400_000));
        assert_eq!(duration_ms("250 ms"), Ok(250));
        assert_eq!(duration_ms("1.5s"), Ok(1_500));
        assert_eq!(size_bytes("256 MiB"), Ok(256 << 20));
        assert_eq!(rate_bytes("50 MiB/s"), Ok(50 << 20));
    }

    #[test]
    fn a_bare_number_and_a_strange_unit_are_refused_with_an_example() {
        for bad in ["10", "10 parsec", "", "m", "-1m", "1..2s"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
        let said = duration_ms("10").map_err(|e| e.to_string());
        assert_eq!(said, Err("`10` has no unit; write \"10m\"".to_string()));
        assert!(rate_bytes("50 MiB").is_err());
        assert!(size_bytes("256 mib").is_err());
    }
}

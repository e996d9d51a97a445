//! The settings there are: under Greenplum's names where one exists.

use thiserror::Error;

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A duration within limits, in milliseconds.
    Duration { min_ms: u64, max_ms: u64 },
    /// A number within limits.
    Count { min: u64, max: u64 },
    /// Bytes per second, or `off`.
    Rate,
    /// Bytes, or `off`.
    Size,
    /// A duration up to a limit, in milliseconds, or `off`.
    DurationOrOff { max_ms: u64 },
    /// `on` or `off`.
    Switch,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub name: &'static str,
    pub default: &'static str,
    pub kind: Kind,
    pub what: &'static str,
}

const fn known(name: &'static str, default: &'static str, kind: Kind, what: &'static str) -> Known {
    Known { name, default, kind, what }
}

/// Every setting.
pub const KNOWN: &[Known] = &[
    known(
        "gp_fts_probe_interval",
        "1s",
        Kind::Duration { min_ms: 100, max_ms: 3_600_000 },
        "time between two probes of a segment",
    ),
    known(
        "gp_fts_probe_timeout",
        "1s",
        Kind::Duration { min_ms: 100, max_ms: 3_600_000 },
        "how long one attempt to reach a segment may take",
    ),
    known(
        "gp_fts_probe_retries",
        "3",
        Kind::Count { min: 1, max: 100 },
        "attempts that fail, back to back, before a silent segment is lost",
    ),
    known(
        "segsh_session_wait",
        "30s",
        Kind::Duration { min_ms: 0, max_ms: 3_600_000 },
        "how long a statement waits while its content has no primary",
    ),
    known(
        "segsh_recovery_jobs",
        "16",
        Kind::Count { min: 1, max: 1000 },
        "how many segments one operation works on at a time",
    ),
    known(
        "segsh_recovery_rate",
        "off",
        Kind::Rate,
        "cap on a copy, for each pair; taken when the copy begins, unless the call names its own rate",
    ),
    known(
        "segsh_mirror_lag_warn",
        "500ms",
        Kind::DurationOrOff { max_ms: 3_600_000 },
        "a mirror that takes longer to answer a sync is warned of",
    ),
    known("segsh_disk_free_warn", "1 GiB", Kind::Size, "a data directory with less room left is warned of"),
    known("segsh_production", "off", Kind::Switch, "people depend on this cluster: a shell's prompt says so, in red"),
];

/// Why a setting can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    #[error("no setting `{name}`; there are: {}", KNOWN.iter().map(|k| k.name).collect::<Vec<_>>().join(", "))]
    Unknown { name: String },
    #[error("`{value}` is not a value of {name}: {why}")]
    Invalid { name: String, value: String, why: String },
}

/// The setting of this name.
pub fn find(name: &str) -> Result<&'static Known, SettingError> {
    KNOWN.iter().find(|k| k.name == name).ok_or_else(|| SettingError::Unknown { name: name.into() })
}

impl Known {
    /// The value in its one spelling, with its unit.
    pub fn normalize(&self, value: &str) -> Result<String, SettingError> {
        let number = self.parse(value)?;
        Ok(match self.kind {
            Kind::Duration { .. } => show_duration(number.unwrap_or_default()),
            Kind::Count { .. } => number.unwrap_or_default().to_string(),
            Kind::DurationOrOff { .. } => number.map_or_else(|| "off".into(), show_duration),
            Kind::Size => number.map_or_else(|| "off".into(), show_bytes),
            Kind::Switch => if number.is_some() { "on" } else { "off" }.into(),
            Kind::Rate => number.map_or_else(|| "off".into(), |n| format!("{}/s", show_bytes(n))),
        })
    }

    /// The value as a number: milliseconds, a count, bytes per second, 1 for `on`; `None` is `off`.
    pub fn parse(&self, value: &str) -> Result<Option<u64>, SettingError> {
        let bad = |why: String| SettingError::Invalid { name: self.name.into(), value: value.into(), why };
        let value = value.trim();
        match self.kind {
            Kind::Duration { min_ms, max_ms } => {
                let ms = with_unit(value, &DURATIONS).map_err(bad)?;
                if !(min_ms..=max_ms).contains(&ms) {
                    let limits = format!("between {} and {}", show_duration(min_ms), show_duration(max_ms));
                    return Err(bad(format!("it must be {limits}")));
                }
                Ok(Some(ms))
            }
            Kind::Count { min, max } => match value.parse::<u64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(Some(n)),
                _ => Err(bad(format!("it must be a number between {min} and {max}"))),
            },
            Kind::Rate | Kind::Size | Kind::DurationOrOff { .. } | Kind::Switch if value == "off" => Ok(None),
            Kind::Switch if value == "on" => Ok(Some(1)),
            Kind::Switch => Err(bad("it must be on or off".into())),
            Kind::Size => with_unit(value, &SIZES).map(Some).map_err(bad),
            Kind::DurationOrOff { max_ms } => match with_unit(value, &DURATIONS).map_err(bad)? {
                ms if ms <= max_ms => Ok(Some(ms)),
                _ => Err(bad(format!("it must be at most {}, or off", show_duration(max_ms)))),
            },
            Kind::Rate => {
                let size = value.strip_suffix("/s").ok_or_else(|| bad("write it like \"50 MiB/s\", or off".into()))?;
                match with_unit(size, &SIZES).map_err(bad)? {
                    0 => Err(bad("write off for no cap".into())),
                    bytes => Ok(Some(bytes)),
                }
            }
        }
    }
}

type Units = [(&'static str, u64)];
const DURATIONS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 7] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)];

/// A duration with its unit, `10m`, in milliseconds.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    with_unit(text.trim(), &DURATIONS)
}

fn with_unit(text: &str, units: &Units) -> Result<u64, String> {
    let names = || units.iter().map(|u| u.0).collect::<Vec<_>>().join(", ");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    let number: u64 = number.parse().map_err(|_| format!("write a whole number with a unit ({})", names()))?;
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => number.checked_mul(*factor).ok_or_else(|| "it is too large".to_string()),
        None => Err(format!("it needs a unit ({})", names())),
    }
}

fn show_duration(ms: u64) -> String {
    match ms {
        0 => "0s".into(),
        ms if ms.is_multiple_of(60_000) => format!("{}min", ms / 60_000),
        ms if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

fn show_bytes(bytes: u64) -> String {
    [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes} B"), |(name, factor)| format!("{} {name}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_in_its_one_spelling() {
        for known in KNOWN {
            assert_eq!(known.normalize(known.default).as_deref(), Ok(known.default), "{}", known.name);
        }
    }

    #[test]
    fn a_value_needs_its_unit_and_its_limits() {
        let interval = find("gp_fts_probe_interval").unwrap();
        assert_eq!(interval.parse("250ms"), Ok(Some(250)));
        assert_eq!(interval.normalize("60 s").as_deref(), Ok("1min"));
        for bad in ["1", "1 parsec", "", "-1s", "1ms", "99999999999999999999s", "18446744073709551615h"] {
            assert!(interval.parse(bad).is_err(), "{bad}");
        }
        let rate = find("segsh_recovery_rate").unwrap();
        assert_eq!(rate.parse("50 MiB/s"), Ok(Some(50 << 20)));
        assert_eq!(rate.parse("off"), Ok(None));
        assert!(rate.parse("0 B/s").is_err() && rate.parse("50").is_err());
        let free = find("segsh_disk_free_warn").unwrap();
        assert_eq!(free.parse("512 MiB"), Ok(Some(512 << 20)));
        assert_eq!((free.parse("off"), free.normalize("2048MiB").as_deref()), (Ok(None), Ok("2 GiB")));
        assert!(free.parse("50").is_err());
        let lag = find("segsh_mirror_lag_warn").unwrap();
        assert_eq!((lag.parse("1s"), lag.parse("off")), (Ok(Some(1000)), Ok(None)));
        assert!(lag.parse("2h").is_err());
        let production = find("segsh_production").unwrap();
        assert_eq!((production.parse("on"), production.parse("off")), (Ok(Some(1)), Ok(None)));
        assert_eq!(production.normalize(" on ").as_deref(), Ok("on"));
        assert!(production.parse("yes").is_err());
        assert!(find("gp_nonsense").is_err());
    }
}

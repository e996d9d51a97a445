//! One line of a utility's output, and the shape that all utilities write it in.

use crate::core::calendar::civil;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl Level {
    /// As it stands in the line's brackets.
    pub fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `None` for a line that is written as it is: help, a version.
    pub level: Option<Level>,
    pub text: String,
}

impl Line {
    /// A line of a level.
    pub fn of(level: Level, text: impl Into<String>) -> Line {
        Line { level: Some(level), text: text.into() }
    }

    /// Good news.
    pub fn info(text: impl Into<String>) -> Line {
        Line::of(Level::Info, text)
    }

    /// What should be looked at.
    pub fn warning(text: impl Into<String>) -> Line {
        Line::of(Level::Warning, text)
    }

    /// A line without level and stamp.
    pub fn bare(text: impl Into<String>) -> Line {
        Line { level: None, text: text.into() }
    }

    /// `[INFO]:-text`: the part of the line that does not change from run to run.
    pub fn unstamped(&self) -> String {
        match self.level {
            Some(level) => format!("[{}]:-{}", level.word(), self.text),
            None => self.text.clone(),
        }
    }

    /// `YYYYMMDD:HH:MM:SS:PPPPPP prog:host:user-[LEVEL]:-text`.
    pub fn stamped(&self, stamp: &Stamp, now_ms: i64) -> String {
        match self.level {
            Some(_) => format!("{}-{}", stamp.prefix(now_ms), self.unstamped()),
            None => self.text.clone(),
        }
    }
}

/// What every line of one run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The utility's name.
    pub program: String,
    pub host: String,
    pub user: String,
    pub pid: u32,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset_s: i64,
}

impl Stamp {
    fn prefix(&self, now_ms: i64) -> String {
        let time = Civil::at(now_ms, self.utc_offset_s);
        let Civil { year, month, day, hour, minute, second } = time;
        format!(
            "{year:04}{month:02}{day:02}:{hour:02}:{minute:02}:{second:02}:{:06} {}:{}:{}",
            self.pid, self.program, self.host, self.user
        )
    }

    /// The file of a day in a log directory: `gpstate_20261122.log`.
    pub fn log_name(&self, now_ms: i64) -> String {
        let Civil { year, month, day, .. } = Civil::at(now_ms, self.utc_offset_s);
        format!("{}_{year:04}{month:02}{day:02}.log", self.program)
    }
}

/// A moment as a calendar and a clock say it.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    fn at(unix_ms: i64, utc_offset_s: i64) -> Civil {
        let seconds = unix_ms.div_euclid(1000) + utc_offset_s;
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        Civil { year, month, day, hour: of_day / 3600, minute: of_day / 60 % 60, second: of_day % 60 }
    }
}

/// `2025-01-14 09:15:40`, in UTC when the offset is 0.
pub fn date_time(unix_ms: i64, utc_offset_s: i64) -> String {
    let Civil { year, month, day, hour, minute, second } = Civil::at(unix_ms, utc_offset_s);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        let (host, user) = ("fern-m".into(), "gpadmin".into());
        Stamp { program: "gpstate".into(), host, user, pid: 4410, utc_offset_s: 3600 }
    }

    #[test]
    fn a_line_has_the_shape_of_all_utilities() {
        let line = Line::warning("1 segment(s) configured as mirror(s) have failed");
        assert_eq!(
            line.stamped(&stamp(), 1_736_842_540_000),
            "20250114:09:15:40:004410 gpstate:fern-m:gpadmin-[WARNING]:-1 segment(s) configured as mirror(s) have failed"
        );
        assert_eq!(Line::bare("updating flat files").stamped(&stamp(), 0), "updating flat files");
    }

    #[test]
    fn a_log_is_named_by_the_day_of_its_lines() {
        assert_eq!(stamp().log_name(1_736_895_600_000), "gpstate_20250115.log");
        assert_eq!(date_time(1_736_842_540_000, 3600), "2025-01-14 09:15:40");
    }
}

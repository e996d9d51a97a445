//! A session's settings: the few that mean something here, and those that clients set by habit.

use super::error::{SqlError, state};
use super::host::{Client, Timeouts};
use std::collections::BTreeMap;
use std::time::Duration;

/// The settings of one session.
#[derive(Debug, Clone)]
pub struct Gucs {
    /// What `RESET` goes back to.
    start: Timeouts,
    now: Timeouts,
    texts: BTreeMap<String, String>,
    text_start: BTreeMap<String, String>,
}

/// Settings whose value nothing here depends on, with what they say at first. The spelling is
/// PostgreSQL's; they are found in any.
const TEXTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "on"),
    ("jit", "off"),
    ("max_identifier_length", "63"),
    ("row_security", "off"),
    ("search_path", "main"),
    ("server_encoding", "UTF8"),
    ("server_version", ""),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    ("synchronous_commit", "on"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "serializable"),
    ("transaction_read_only", "off"),
];

/// Settings a client is told of, at the start and whenever they change.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

const READ_ONLY: &[&str] = &[
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "session_authorization",
];

fn known(name: &str) -> Option<&'static str> {
    TEXTS.iter().map(|(known, _)| *known).find(|known| known.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(state::UNKNOWN_SETTING, format!("unrecognized configuration parameter \"{name}\""))
        .hint("SHOW ALL lists those there are.")
}

impl Gucs {
    /// The settings at a session's start.
    pub fn new(timeouts: Timeouts, server_version: &str, client: &Client) -> Gucs {
        let mut texts: BTreeMap<String, String> =
            TEXTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in [
            ("server_version", server_version),
            ("application_name", &client.application_name),
            ("session_authorization", &client.user),
        ] {
            texts.insert(name.to_owned(), value.to_owned());
        }
        Gucs { start: timeouts, now: timeouts, text_start: texts.clone(), texts }
    }

    /// The time limits in force.
    pub fn timeouts(&self) -> Timeouts {
        self.now
    }

    /// What the client is told at the start.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REPORTED.iter().filter_map(|name| Some((*name, self.texts.get(*name)?.as_str())))
    }

    fn timeout(&mut self, name: &str) -> Option<&mut Option<Duration>> {
        match name {
            "statement_timeout" => Some(&mut self.now.statement),
            "lock_timeout" => Some(&mut self.now.lock),
            "idle_in_transaction_session_timeout" => Some(&mut self.now.idle_in_transaction),
            _ => None,
        }
    }

    /// `SET name = value`. Returns what the client must be told of.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<(&'static str, String)>, SqlError> {
        if value.eq_ignore_ascii_case("default") {
            return self.reset(Some(name));
        }
        if let Some(timeout) = self.timeout(name) {
            *timeout = parse_timeout(name, value)?;
            return Ok(None);
        }
        let Some(name) = known(name) else {
            // Names with a dot are the client's own.
            if name.contains('.') {
                self.texts.insert(name.to_owned(), value.to_owned());
                return Ok(None);
            }
            return Err(unknown(name));
        };
        if READ_ONLY.contains(&name) {
            return Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed")));
        }
        if name == "client_encoding" && !is_utf8(value) {
            return Err(SqlError::new(state::BAD_SETTING, format!("client_encoding \"{value}\" is not supported"))
                .hint("UTF8 is the only one."));
        }
        let value = if name == "client_encoding" { "UTF8" } else { value };
        self.texts.insert(name.to_owned(), value.to_owned());
        Ok(REPORTED.contains(&name).then(|| (name, value.to_owned())))
    }

    /// `RESET name`, or `RESET ALL`.
    pub fn reset(&mut self, name: Option<&str>) -> Result<Option<(&'static str, String)>, SqlError> {
        let start = self.start;
        match name {
            None => {
                self.now = start;
                self.texts = self.text_start.clone();
                Ok(None)
            }
            Some("statement_timeout") => {
                self.now.statement = start.statement;
                Ok(None)
            }
            Some("lock_timeout") => {
                self.now.lock = start.lock;
                Ok(None)
            }
            Some("idle_in_transaction_session_timeout") => {
                self.now.idle_in_transaction = start.idle_in_transaction;
                Ok(None)
            }
            Some(name) => {
                let name = known(name).ok_or_else(|| unknown(name))?;
                let value = self.text_start.get(name).cloned().unwrap_or_default();
                self.texts.insert(name.to_owned(), value.clone());
                Ok(REPORTED.contains(&name).then_some((name, value)))
            }
        }
    }

    /// `SHOW name`.
    pub fn show(&self, name: &str) -> Result<String, SqlError> {
        let timeouts = [
            ("statement_timeout", self.now.statement),
            ("lock_timeout", self.now.lock),
            ("idle_in_transaction_session_timeout", self.now.idle_in_transaction),
        ];
        if let Some((_, timeout)) = timeouts.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            return Ok(format_timeout(*timeout));
        }
        self.texts.get(known(name).unwrap_or(name)).cloned().ok_or_else(|| unknown(name))
    }

    /// `SHOW ALL`, in the order of their names.
    pub fn all(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> =
            self.texts.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
            all.push((name.to_owned(), self.show(name).unwrap_or_default()));
        }
        all.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        all
    }
}

/// Whether PostgreSQL's name of an encoding means UTF-8.
pub fn is_utf8(name: &str) -> bool {
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    bare.is_empty() || ["utf8", "unicode", "sqlascii"].contains(&bare.to_ascii_lowercase().as_str())
}

fn parse_timeout(name: &str, value: &str) -> Result<Option<Duration>, SqlError> {
    let bad = || {
        SqlError::new(state::BAD_SETTING, format!("invalid value for parameter \"{name}\": \"{value}\""))
            .hint("Valid units for this parameter are \"ms\", \"s\", \"min\", \"h\", and \"d\".")
    };
    let text = value.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| bad())?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let millis = number.checked_mul(unit).ok_or_else(bad)?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

fn format_timeout(timeout: Option<Duration>) -> String {
    let millis = timeout.map_or(0, |t| t.as_millis());
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")]
        .iter()
        .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size))
        .map_or_else(
            || {
                if millis == 0 { "0".to_owned() } else { format!("{millis}ms") }
            },
            |(size, unit)| format!("{}{unit}", millis / size),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gucs() -> Gucs {
        let client = Client { user: "u".into(), database: "d".into(), application_name: "app".into() };
        Gucs::new(Timeouts::default(), "15.0", &client)
    }

    #[test]
    fn a_timeout_is_shown_as_it_was_set() {
        let mut gucs = gucs();
        for (set, shown) in [("5s", "5s"), ("90000", "90s"), ("1min", "1min"), ("0", "0"), ("7", "7ms")] {
            gucs.set("statement_timeout", set).unwrap();
            assert_eq!(gucs.show("Statement_Timeout").unwrap(), shown);
        }
        assert_eq!(gucs.set("lock_timeout", "5 parsecs").unwrap_err().code, "22023");
        gucs.set("idle_in_transaction_session_timeout", "0").unwrap();
        gucs.reset(None).unwrap();
        assert_eq!(gucs.show("idle_in_transaction_session_timeout").unwrap(), "1min");
    }

    #[test]
    fn an_unknown_setting_is_refused_and_a_dotted_one_is_the_client_s() {
        let mut gucs = gucs();
        assert_eq!(gucs.set("no_such", "1").unwrap_err().code, "42704");
        gucs.set("my.own", "1").unwrap();
        assert_eq!(gucs.show("my.own").unwrap(), "1");
        assert_eq!(gucs.set("server_version", "9").unwrap_err().code, "55P02");
        assert_eq!(gucs.set("client_encoding", "LATIN1").unwrap_err().code, "22023");
    }

    #[test]
    fn a_change_the_client_must_know_is_reported() {
        let mut gucs = gucs();
        assert_eq!(gucs.set("datestyle", "ISO").unwrap(), Some(("DateStyle", "ISO".to_owned())));
        assert_eq!(gucs.set("search_path", "x").unwrap(), None);
    }
}

//! The pragmas that would break what the engine relies on, and what is answered to them.

/// Decides about `PRAGMA name = value` or `PRAGMA name`: `Some` is the reason for refusing it.
pub(super) fn refusal(name: &str, value: Option<&str>) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let value = value.map(|v| v.trim().trim_matches(['\'', '"']).to_ascii_lowercase());
    let rule = RULES.iter().find(|rule| rule.name == name)?;
    match value {
        None if rule.reading_changes => Some(rule.explain()),
        None => None,
        Some(v) if rule.allowed.contains(&v.as_str()) => None,
        Some(_) => Some(rule.explain()),
    }
}

struct Rule {
    name: &'static str,
    allowed: &'static [&'static str],
    /// Without a value the pragma acts all the same.
    reading_changes: bool,
    why: &'static str,
}

impl Rule {
    fn explain(&self) -> String {
        format!("PRAGMA {} is fixed on a segment: {}", self.name, self.why)
    }
}

const fn fixed(name: &'static str, allowed: &'static [&'static str], why: &'static str) -> Rule {
    Rule { name, allowed, reading_changes: false, why }
}

const RULES: &[Rule] = &[
    fixed("journal_mode", &["wal"], "the write-ahead log is the record of what the mirror may lack"),
    fixed("synchronous", &["full", "2"], "a commit is acknowledged only after both sides synced it"),
    fixed("locking_mode", &["normal"], "several sessions share the database"),
    fixed("mmap_size", &["0"], "every byte passes through the engine"),
    fixed("temp_store", &["memory", "2"], "temporary files are not replicated"),
    fixed("page_size", &["4096"], "a page is a block of change tracking"),
    fixed("wal_autocheckpoint", &["0"], "the checkpointer works off the commit path"),
    fixed("journal_size_limit", &["-1"], "the checkpointer caps the log"),
    fixed("writable_schema", &["0", "off", "false", "no"], "it corrupts"),
    fixed("schema_version", &[], "it corrupts"),
    fixed("read_uncommitted", &["0", "off", "false", "no"], "it has no meaning here"),
    Rule {
        name: "wal_checkpoint",
        allowed: &["passive"],
        reading_changes: false,
        why: "only a passive checkpoint may be asked for; the checkpointer does the others",
    },
    Rule {
        name: "data_store_directory",
        allowed: &[],
        reading_changes: true,
        why: "there are no files beside the replicated ones",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_fixed_pragma_is_allowed_and_changing_it_is_not() {
        for name in ["journal_mode", "SYNCHRONOUS", "locking_mode", "mmap_size"] {
            assert_eq!(refusal(name, None), None);
            assert!(refusal(name, Some("off")).is_some(), "{name}");
        }
    }

    #[test]
    fn the_contract_s_own_value_is_allowed_in_any_spelling() {
        assert_eq!(refusal("journal_mode", Some("WAL")), None);
        assert_eq!(refusal("journal_mode", Some("'wal'")), None);
        assert_eq!(refusal("synchronous", Some("2")), None);
        assert_eq!(refusal("foreign_keys", Some("off")), None);
    }
}

//! The utilities that administrators of Greenplum know: `gpstate`, `gprecoverseg`, `gpstop`, `gpstart`.
//!
//! Pure: options, layouts, file formats and refusals, from values to lines. What is asked of a cluster, and where the
//! lines go, belongs to whoever runs a utility. Each difference to the old behaviour is in
//! `docs/greenplum-differences.md`, with its reason.

pub mod args;
pub mod display;
pub mod failure;
pub mod figures;
pub mod file;
pub mod gprecoverseg;
pub mod gpstart;
pub mod gpstate;
pub mod gpstop;
pub mod layout;
pub mod line;
pub mod page;
pub mod refusals;
pub mod steps;

use crate::cluster::{ContentState, PairHealth, Segment, State};

/// A utility, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utility {
    Gpstate,
    Gprecoverseg,
    Gpstop,
    Gpstart,
}

impl Utility {
    /// Every one of them.
    pub const ALL: [Utility; 4] = [Utility::Gpstate, Utility::Gprecoverseg, Utility::Gpstop, Utility::Gpstart];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Utility::Gpstate => "gpstate",
            Utility::Gprecoverseg => "gprecoverseg",
            Utility::Gpstop => "gpstop",
            Utility::Gpstart => "gpstart",
        }
    }

    /// Whether it changes the cluster.
    pub fn changes(self) -> bool {
        self != Utility::Gpstate
    }

    /// The utility of this name.
    pub fn parse(name: &str) -> Option<Utility> {
        Utility::ALL.into_iter().find(|u| u.name() == name)
    }
}

/// What `-d` names, as far as the command line can be read; what is wrong with it, the utility itself says.
pub fn directory_of(utility: Utility, words: &[String]) -> Option<String> {
    let own = match utility {
        Utility::Gpstate => gpstate::OPTIONS,
        Utility::Gprecoverseg => gprecoverseg::OPTIONS,
        Utility::Gpstop => gpstop::OPTIONS,
        Utility::Gpstart => gpstart::OPTIONS,
    };
    args::read(&[own, args::COMMON], words).ok()?.value("d").map(str::to_string)
}

/// What a utility says of the software, beside what the state says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The release that asks: `segsh 0.1.0`.
    pub release: String,
    /// The version that the SQL front answers with.
    pub server_version: String,
}

/// Every segment, by content, the one that prefers to be primary first.
fn ordered(state: &State) -> Vec<&Segment> {
    let mut all: Vec<&Segment> = state.segments.iter().collect();
    all.sort_by_key(|s| (s.row.content, s.row.preferred_role));
    all
}

/// Whether no member of a content serves, or nothing is decided about it: then the database as a whole is not available.
fn is_lost(content: &ContentState) -> bool {
    use PairHealth::{ChangeTracking, NoMirror, Resynchronizing, Synchronized};
    !matches!(content.health, Synchronized | Resynchronizing | ChangeTracking | NoMirror)
}

/// Splits what was typed behind a utility's name as a shell would: blanks separate, quotes join. `None` when a quote
/// is not closed.
pub fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Writes words so that [`split_words`] gives them back.
pub fn join_words(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@".contains(c);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\"'\"'")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A line that a test types, read.
#[cfg(test)]
fn typed<A>(parse: fn(&[String]) -> Result<A, args::Wrong>, line: &str) -> Result<A, args::Wrong> {
    parse(&split_words(line).expect("a plain line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        let split = |text: &str| split_words(text).unwrap_or_else(|| panic!("`{text}` is not closed"));
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split(" -a  -B 4 "), ["-a", "-B", "4"]);
        assert_eq!(split("-l '/tmp/a b' -o \"x y\"z ''"), ["-l", "/tmp/a b", "-o", "x yz", ""]);
        assert_eq!(split_words("-l 'open"), None);
    }

    #[test]
    fn words_survive_a_line() {
        let words = ["-l", "/tmp/a b", "it's \"so\"", "", "-B4"].map(String::from);
        assert_eq!(split_words(&join_words(&words)), Some(words.to_vec()));
        assert_eq!(join_words(&["-m".into(), "-d".into(), "/srv/demo".into()]), "-m -d /srv/demo");
    }

    #[test]
    fn a_utility_is_found_by_its_name_and_by_nothing_else() {
        for utility in Utility::ALL {
            assert_eq!(Utility::parse(utility.name()), Some(utility));
        }
        assert_eq!(Utility::parse("gpinitsystem"), None);
    }
}

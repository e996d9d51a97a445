//! Options as `getopt` reads them: `-aF`, `-B 4`, `-B4`, `--logfile=DIR`, `--quiet`. Clap reads as much, but says it
//! in its own words; here the words are those that scripts of twenty years look for.

use super::Utility;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// A value, by its name in help.
    Value(&'static str),
}

/// One option of a utility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// What it is asked for by: `a`, `persistent-check`.
    pub key: &'static str,
    /// As it is typed, each with its dashes.
    pub spelled: &'static [&'static str],
    pub takes: Takes,
    /// What help says of it.
    pub says: &'static str,
    /// Why it is refused here, and what does its work; `None` for one that is obeyed.
    pub refused: Option<&'static str>,
}

/// An option without a value.
pub const fn flag(key: &'static str, spelled: &'static [&'static str], says: &'static str) -> Opt {
    Opt { key, spelled, takes: Takes::Nothing, says, refused: None }
}

/// An option with a value.
pub const fn value(key: &'static str, spelled: &'static [&'static str], of: &'static str, says: &'static str) -> Opt {
    Opt { key, spelled, takes: Takes::Value(of), says, refused: None }
}

/// An option that has no meaning here.
pub const fn refused(key: &'static str, spelled: &'static [&'static str], takes: Takes, why: &'static str) -> Opt {
    Opt { key, spelled, takes, says: "", refused: Some(why) }
}

/// What every utility knows.
pub const COMMON: &[Opt] = &[
    value("d", &["-d", "--master_data_directory"], "DIR", "the cluster's directory, or its coordinator's"),
    value("l", &["-l"], "DIR", "append to the log file of the day in DIR"),
    flag("q", &["-q", "--quiet"], "nothing on stdout; the log has it"),
    flag("v", &["-v", "--verbose"], "more lines, of level DEBUG"),
    flag("help", &["-?", "-h", "--help"], "this help"),
    flag("version", &["--version"], "the release"),
];

/// Where to find a cluster when `-d` does not say.
pub(super) const NO_DIRECTORY: &str = "Environment Variable MASTER_DATA_DIRECTORY not set!";
/// Where the cluster is looked for, in this order, when `-d` does not name it.
pub const ENVIRONMENT: [&str; 2] = ["MASTER_DATA_DIRECTORY", "COORDINATOR_DATA_DIRECTORY"];

/// What was typed, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    given: Vec<(&'static str, String)>,
}

impl Given {
    /// Whether an option was given.
    pub fn has(&self, key: &str) -> bool {
        self.given.iter().any(|(k, _)| *k == key)
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.given.iter().rev().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// The value of an option as a whole number.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Wrong> {
        let read = |text: &str| {
            text.trim().parse::<i64>().map_err(|_| Wrong(format!("option -{key}: invalid integer value: '{text}'")))
        };
        self.value(key).map(read).transpose()
    }
}

/// How many at a time: `-B`, from 1 to `most`.
pub fn parallel(given: &Given, most: i64) -> Result<Option<i64>, Wrong> {
    match given.number("B")? {
        Some(n) if !(1..=most).contains(&n) => {
            Err(Wrong(format!("Invalid parallelDegree provided with -B argument: {n}")))
        }
        degree => Ok(degree),
    }
}

/// A command line that is not understood, in a sentence. Its exit is [`Wrong::EXIT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl Wrong {
    /// The exit code of every wrong command line.
    pub const EXIT: i32 = 2;

    /// As the utilities put it: `gpstate: error: …`.
    pub fn line(&self, utility: Utility) -> String {
        format!("{}: error: {}", utility.name(), self.0)
    }
}

/// Reads what stands behind a utility's name.
pub fn read(options: &[&'static [Opt]], words: &[String]) -> Result<Given, Wrong> {
    let all: Vec<&Opt> = options.iter().copied().flatten().collect();
    let mut given = Given::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--" => return if words.next().is_some() { Err(stray()) } else { Ok(given) },
            _ if word.starts_with("--") => long(&all, word, &mut words, &mut given)?,
            _ if word.len() > 1 && word.starts_with('-') => short(&all, word, &mut words, &mut given)?,
            _ => return Err(stray()),
        }
    }
    Ok(given)
}

/// None of the utilities has arguments.
fn stray() -> Wrong {
    Wrong("too many arguments: only options may be specified".into())
}

fn long<'a>(
    all: &[&Opt],
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    given: &mut Given,
) -> Result<(), Wrong> {
    let (name, inline) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let option = find_long(all, name)?;
    let value = match (option.takes, inline) {
        (Takes::Nothing, None) => String::new(),
        (Takes::Nothing, Some(_)) => return Err(Wrong(format!("{name} option does not take a value"))),
        (Takes::Value(_), Some(value)) => value.to_string(),
        (Takes::Value(_), None) => words.next().ok_or_else(|| no_value(name))?.to_string(),
    };
    take(option, name, value, given)
}

/// A long option may be cut short as long as it is told apart.
fn find_long<'o>(all: &[&'o Opt], name: &str) -> Result<&'o Opt, Wrong> {
    if let Some(exact) = all.iter().find(|o| o.spelled.contains(&name)) {
        return Ok(exact);
    }
    let fits: Vec<&str> = all.iter().flat_map(|o| o.spelled).copied().filter(|s| s.starts_with(name)).collect();
    match fits.as_slice() {
        [] => Err(unknown(name)),
        [one] => all.iter().find(|o| o.spelled.contains(one)).copied().ok_or_else(|| unknown(name)),
        several => Err(Wrong(format!("ambiguous option: {name} ({}?)", several.join(", ")))),
    }
}

/// Letters behind one dash; what is left behind one that takes a value is that value.
fn short<'a>(
    all: &[&Opt],
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    given: &mut Given,
) -> Result<(), Wrong> {
    let letters = word.trim_start_matches('-');
    for (at, letter) in letters.char_indices() {
        let name = format!("-{letter}");
        let option = all.iter().find(|o| o.spelled.contains(&name.as_str())).copied().ok_or_else(|| unknown(&name))?;
        if option.takes == Takes::Nothing {
            take(option, &name, String::new(), given)?;
            continue;
        }
        let rest = &letters[at + letter.len_utf8()..];
        let value = if rest.is_empty() { words.next().ok_or_else(|| no_value(&name))? } else { rest };
        return take(option, &name, value.to_string(), given);
    }
    Ok(())
}

fn take(option: &Opt, name: &str, value: String, given: &mut Given) -> Result<(), Wrong> {
    if let Some(why) = option.refused {
        return Err(Wrong(format!("{name} {why}")));
    }
    given.given.push((option.key, value));
    Ok(())
}

fn unknown(name: &str) -> Wrong {
    Wrong(format!("no such option: {name}"))
}

fn no_value(name: &str) -> Wrong {
    Wrong(format!("{name} option requires an argument"))
}

/// The help of a utility.
pub fn help(utility: Utility, about: &str, options: &[&'static [Opt]]) -> String {
    let mut text = format!("Usage: {} [options]\n\n{about}\n\nOptions:\n", utility.name());
    for option in options.iter().copied().flatten().filter(|o| o.refused.is_none()) {
        let of = match option.takes {
            Takes::Nothing => String::new(),
            Takes::Value(of) => format!(" {of}"),
        };
        let spelled = format!("  {}{of}", option.spelled.join(", "));
        text.push_str(&format!("{spelled:<34}{}\n", option.says));
    }
    let refused = || options.iter().copied().flatten().filter(|o| o.refused.is_some());
    if refused().next().is_some() {
        text.push_str("\nRefused here:\n");
        for option in refused() {
            text.push_str(&format!("  {} {}\n", option.spelled.join(", "), option.refused.unwrap_or_default()));
        }
    }
    text.push_str("\nOf segsh: --json, one document instead. What differs: docs/greenplum-differences.md\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[Opt] = &[
        flag("a", &["-a"], "ask nothing"),
        flag("F", &["-F"], "everything"),
        value("B", &["-B", "--parallel"], "N", "so many at a time"),
        refused("s", &["-s"], Takes::Value("FILE"), "has no meaning here; use to:"),
    ];

    fn typed(words: &[&str]) -> Result<Given, Wrong> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        read(&[OWN, COMMON], &words)
    }

    #[track_caller]
    fn ok(words: &[&str]) -> Given {
        typed(words).unwrap_or_else(|wrong| panic!("{words:?}: {wrong:?}"))
    }

    #[test]
    fn letters_may_stand_together_and_a_value_with_or_without_a_blank() {
        for words in [&["-aF", "-B", "4"][..], &["-a", "-F", "-B4"], &["-FaB4"], &["-aF", "--parallel=4"]] {
            let given = ok(words);
            assert!(given.has("a") && given.has("F"), "{words:?}");
            assert_eq!(given.number("B"), Ok(Some(4)), "{words:?}");
        }
        assert_eq!(ok(&["-B1", "-B2"]).value("B"), Some("2"), "the last one counts");
    }

    #[test]
    fn a_long_option_may_be_cut_short() {
        assert_eq!(ok(&["--par", "3"]).value("B"), Some("3"));
        assert_eq!(typed(&["--ver"]), Err(Wrong("ambiguous option: --ver (--verbose, --version?)".into())));
        assert!(ok(&["--verb"]).has("v"));
    }

    #[test]
    fn what_is_wrong_is_said_as_the_utilities_do() {
        for (words, says) in [
            (&["x"][..], "too many arguments: only options may be specified"),
            (&["--", "x"], "too many arguments: only options may be specified"),
            (&["-z"], "no such option: -z"),
            (&["--zeal"], "no such option: --zeal"),
            (&["-B"], "-B option requires an argument"),
            (&["--quiet=1"], "--quiet option does not take a value"),
            (&["-as", "f"], "-s has no meaning here; use to:"),
        ] {
            assert_eq!(typed(words), Err(Wrong(says.into())), "{words:?}");
        }
        assert_eq!(ok(&["-Bx"]).number("B"), Err(Wrong("option -B: invalid integer value: 'x'".into())));
        assert_eq!(Wrong("no such option: -z".into()).line(Utility::Gpstate), "gpstate: error: no such option: -z");
    }

    #[test]
    fn help_lists_every_option_and_those_that_are_refused_apart() {
        let text = help(Utility::Gpstate, "Brings back what is down.", &[OWN, COMMON]);
        for option in [OWN, COMMON].concat() {
            assert!(text.contains(option.spelled[0]), "{} is missing:\n{text}", option.key);
        }
        let (obeyed, refused) = text.split_once("Refused here:").expect("the refused ones stand apart");
        assert!(!obeyed.contains("-s") && refused.contains("use to:"));
    }
}

//! The parts of a line that differ from run to run, by name: times, sizes, counts of blocks, process
//! ids, paths. Runs of blanks are one blank, because a table's columns are as wide as these parts.

const TIMES: [&str; 3] = ["s", "ms", "us"];
const SIZES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// The line with names in place of what may differ.
pub fn named(line: &str) -> String {
    let words: Vec<Word> = line.split_whitespace().map(Word::new).collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (name, used) = pattern(&words[at..], at.checked_sub(1).map(|i| words[i].core));
        let last = &words[at + used - 1];
        out.push(match name {
            Some(name) => format!("{}{name}{}", words[at].lead, last.tail),
            None => words[at].whole.to_owned(),
        });
        at += used;
    }
    out.join(" ")
}

/// A word without the punctuation around it.
struct Word<'a> {
    whole: &'a str,
    lead: &'a str,
    core: &'a str,
    tail: &'a str,
}

impl<'a> Word<'a> {
    fn new(whole: &'a str) -> Word<'a> {
        let rest = whole.trim_start_matches(['(', '"']);
        let core = rest.trim_end_matches([',', '.', ':', ';', ')', '"']);
        Word { whole, lead: &whole[..whole.len() - rest.len()], core, tail: &rest[core.len()..] }
    }

    fn is_number(&self) -> bool {
        self.core.starts_with(|c: char| c.is_ascii_digit()) && self.core.chars().all(|c| c.is_ascii_digit() || c == '.')
    }
}

/// The name of what begins here, and how many words it takes.
fn pattern(words: &[Word], before: Option<&str>) -> (Option<&'static str>, usize) {
    let first = &words[0];
    let second = words.get(1).map(|w| w.core);
    if is_time(first.core) {
        return (Some("<time>"), 1);
    }
    // The demo chooses its hosts' addresses in 127.0.0.0/8.
    if first.core.starts_with("127.") {
        return (Some("<address>"), 1);
    }
    if first.core.starts_with('/') && first.core.len() > 1 {
        return (Some("<path>"), 1);
    }
    if !first.is_number() {
        return (None, 1);
    }
    if matches!(before, Some("operation" | "acknowledged" | "found" | "refused" | "unknown")) {
        return (Some("<n>"), 1);
    }
    if matches!(before, Some("pid" | "process")) {
        return (Some("<pid>"), 1);
    }
    match second {
        Some(unit) if TIMES.contains(&unit) => (Some("<time>"), 2),
        Some(unit) if SIZES.contains(&unit) => (Some("<size>"), 2),
        Some("block" | "blocks") => (Some("<blocks>"), 2),
        Some("%") => (Some("<percent>"), 2),
        // `1.2 of 512 MiB`, and the first of `1.4, 0.9 ms`.
        Some("of") if has_unit(words.get(2..), &SIZES) => (Some("<size>"), 1),
        Some(_) if first.tail == "," && has_unit(words.get(1..), &TIMES) => (Some("<time>"), 1),
        _ => (None, 1),
    }
}

fn has_unit(words: Option<&[Word]>, units: &[&str]) -> bool {
    matches!(words, Some([number, unit, ..]) if number.is_number() && units.contains(&unit.core))
}

/// `03:12:07`, `2m10s`, `3h05m`, `2d4h`.
fn is_time(word: &str) -> bool {
    let digits_and = |letters: &str| word.chars().all(|c| c.is_ascii_digit() || letters.contains(c));
    let begins = word.starts_with(|c: char| c.is_ascii_digit());
    let clock = word.matches(':').count() == 2 && digits_and(":");
    let span = word.ends_with(['s', 'm', 'h']) && word.len() > 1 && digits_and("dhms");
    begins && (clock || span)
}

#[test]
fn what_differs_from_run_to_run_is_named_and_nothing_else() {
    for (line, expected) in [
        (
            "demo  4 contents   7 of 8 segments up   probed 0.3 s ago",
            "demo 4 contents 7 of 8 segments up probed <time> ago",
        ),
        (
            " 0  2 sdw1:6002   6 sdw2:7002 * DOWN 2m10s  change tracking  1.2 MiB",
            "0 2 sdw1:6002 6 sdw2:7002 * DOWN <time> change tracking <size>",
        ),
        (" from dbid 8   307 blocks, 1.2 of 512 MiB", "from dbid 8 <blocks>, <size> of <size>"),
        (
            " 2  4  sdw2  incremental  307 blocks 1.2 MiB  1.4, 0.9 ms  synchronized",
            "2 4 sdw2 incremental <blocks> <size> <time>, <time> synchronized",
        ),
        ("done  1 of 1 in 1.9 s      operation 118", "done 1 of 1 in <time> operation <n>"),
        (
            " content 2  single copy since 03:12:07: dbid 4 took over in 0.21 s.",
            "content 2 single copy since <time>: dbid 4 took over in <time>.",
        ),
        (" 2  8 sdw1:7004 DOWN 2s   change tracking", "2 8 sdw1:7004 DOWN <time> change tracking"),
        (
            "traffic  acknowledged 3120  unknown 1  longest wait 210 ms",
            "traffic acknowledged <n> unknown <n> longest wait <time>",
        ),
        ("sdw1: 127.4.5.11:5001 refused the connection", "sdw1: <address> refused the connection"),
        ("psql -h /tmp/x/run -p 5432 content0", "psql -h <path> -p 5432 content0"),
    ] {
        assert_eq!(named(line), expected);
    }
}

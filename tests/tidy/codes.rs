//! Every documented code is met on a real cluster: the end-to-end tests name each refusal, and demand each
//! exit code.

use crate::expect_none;
use crate::files;

/// A segment that does not come to rest is given up, and another one held, before a third barrier is missed:
/// src/coordinator/tests/backup.rs meets that.
const NEVER_MET: [&str; 1] = ["barrier_missed"];

fn end_to_end() -> Vec<String> {
    files::under("tests/end_to_end", ".rs").iter().map(|path| files::read(path)).collect()
}

/// The text that follows each place where `marker` stands, up to `end`.
fn after<'a>(text: &'a str, marker: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(marker).skip(1).filter_map(move |rest| rest.split(end).next())
}

#[test]
fn every_refusal_is_met_on_a_real_cluster() {
    let declared = files::read("src/cluster/refusal.rs");
    let table = declared.split("refusal_codes! {").nth(1).expect("the table of the codes");
    let codes: Vec<&str> = table.lines().filter_map(|line| after(line, " = \"", '"').next()).collect();
    assert!(codes.len() > 15 && codes.contains(&"no_space"), "the table is not understood: {codes:?}");
    let tests = end_to_end();
    let is_met = |code: &&str| NEVER_MET.contains(code) || tests.iter().any(|text| text.contains(code));
    let missing: Vec<String> = codes.into_iter().filter(|code| !is_met(code)).map(str::to_owned).collect();
    expect_none("Every refusal is met by a test in tests/end_to_end.", missing);
}

#[test]
fn every_exit_code_is_demanded_on_a_real_cluster() {
    let declared = files::read("src/cli/exit.rs");
    let variants = declared.split("pub enum Exit {").nth(1).and_then(|rest| rest.split('}').next());
    let codes: Vec<i32> = after(variants.expect("the enum"), " = ", ',').filter_map(|n| n.parse().ok()).collect();
    assert!(codes.len() > 9 && codes.contains(&130), "the enum is not understood: {codes:?}");
    let tests = end_to_end();
    // `.exits(4)`, a line of a table as `(&["recover"], 4)`, `Some(4)` of a process; `.ok()` is 0.
    let is_demanded = |code: &i32| {
        let ways = [format!(".exits({code})"), format!("], {code})"), format!("Some({code})")];
        ways.iter().any(|way| tests.iter().any(|text| text.contains(way)))
    };
    let missing: Vec<String> = codes.iter().filter(|code| !is_demanded(code)).map(i32::to_string).collect();
    expect_none("Every exit code is demanded by a test in tests/end_to_end.", missing);
}

//! What the documents say of the code, where a machine can tell.

use crate::arrows::ARROWS;
use crate::expect_none;
use crate::files;
use std::collections::BTreeSet;
use std::path::Path;

fn documents() -> Vec<String> {
    files::all().into_iter().filter(|p| p.ends_with(".md")).collect()
}

/// The lines of a document that stand outside of fenced blocks, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((i + 1, line));
        }
    }
    lines
}

/// The words in backticks of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut findings = Vec::new();
    for path in documents() {
        let text = files::read(&path);
        let directory = Path::new(&path).parent().expect("a file stands in a directory").to_owned();
        for (number, line) in prose(&text) {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for target in targets.filter(|t| !t.contains("://")) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let to = if file.is_empty() { path.clone() } else { directory.join(file).display().to_string() };
                if !files::root().join(&to).exists() {
                    findings.push(format!("{path}:{number} leads to {target}"));
                } else if !anchor.is_empty() && !anchors(&files::read(&to)).contains(anchor) {
                    findings.push(format!("{path}:{number} leads to {target}, and there is no such heading"));
                }
            }
        }
    }
    expect_none("A link in a document leads to a file and a heading that exist.", findings);
}

/// The anchors that headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |title: &str| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let titles = prose(text).into_iter().filter(|(_, l)| l.starts_with('#'));
    titles.map(|(_, l)| anchor(l.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_path_a_document_names_exists() {
    let mut findings = Vec::new();
    let is_ours = |word: &&str| {
        let ours = ["src/", "tests/", "docs/", "stdlib/", "scripts/", ".ci/"].iter().any(|d| word.starts_with(d));
        ours && !word.contains(['*', ' ', '{', '<', '…'])
    };
    for path in documents() {
        let text = files::read(&path);
        for (number, line) in prose(&text) {
            let missing = quoted(line).filter(is_ours).filter(|word| !files::root().join(word).exists());
            findings.extend(missing.map(|word| format!("{path}:{number} names {word}")));
        }
    }
    expect_none("A path that a document names is there.", findings);
}

#[test]
fn the_arrows_are_printed_as_they_are_held() {
    let document = files::read("docs/architecture.md");
    let missing = ARROWS.iter().filter(|(room, _)| *room != "main").filter_map(|(room, may)| {
        let may = match may {
            [] => "nothing".to_owned(),
            ["*"] => "every room".to_owned(),
            rooms => rooms.iter().map(|r| format!("`{r}`")).collect::<Vec<_>>().join(", "),
        };
        let row = format!("| `{room}` | {may} |");
        (!document.contains(&row)).then_some(row)
    });
    expect_none("docs/architecture.md has the table of arrows that the test holds.", missing.collect());
}

#[test]
fn every_dependency_is_explained() {
    let manifest = files::read("Cargo.toml");
    let explained = files::read("docs/libraries.md");
    let mut section = "";
    let mut findings = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| section.ends_with("dependencies]"))
            && !explained.contains(&format!("\n| `{name}` |"))
        {
            findings.push(name.to_owned());
        }
    }
    expect_none("docs/libraries.md has a row for every dependency of Cargo.toml.", findings);
}

#[test]
fn every_explained_library_is_a_dependency() {
    let manifest = files::read("Cargo.toml");
    let explained = files::read("docs/libraries.md");
    let rows = explained.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let gone = rows.filter(|name| !manifest.contains(&format!("\n{name} = ")));
    expect_none("docs/libraries.md explains what Cargo.toml has.", gone.map(str::to_owned).collect());
}

#[test]
fn the_rules_of_safety_are_each_found_in_the_code_they_name() {
    let document = files::read("docs/architecture.md");
    let mut findings = Vec::new();
    for number in 1..=7 {
        let rule = format!("R{number}");
        let row = document.lines().find(|l| l.starts_with(&format!("| **{rule}** |")));
        let Some(row) = row else {
            findings.push(format!("{rule} has no row"));
            continue;
        };
        let named: Vec<&str> = quoted(row).filter(|w| w.starts_with("src/")).collect();
        if named.is_empty() {
            findings.push(format!("{rule} names no place in the code"));
        }
        for place in named.into_iter().filter(|p| p.ends_with(".rs")) {
            if files::root().join(place).exists() && !files::read(place).contains(&rule) {
                findings.push(format!("{rule} is not mentioned in {place}"));
            }
        }
    }
    expect_none("Every safety rule names where it lives, and that place names the rule.", findings);
}

/// Every SQLSTATE that stands as a literal in a file.
fn sqlstates(path: &str) -> BTreeSet<String> {
    let text = files::read(path);
    let is_state = |word: &&str| {
        let shape = word.len() == 5 && word.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        shape && (word.starts_with(|c: char| c.is_ascii_digit()) || word.starts_with("XX") || word.starts_with("P0"))
    };
    let production = text.split("#[cfg(test)]").next().unwrap_or_default().replace("\\\"", "");
    production.split('"').skip(1).step_by(2).filter(is_state).map(str::to_owned).collect()
}

#[test]
fn every_sqlstate_that_can_be_answered_is_documented() {
    let document = files::read("docs/protocol.md");
    let documented: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').next())
        .flat_map(quoted)
        .filter(|word| word.len() == 5)
        .map(str::to_owned)
        .collect();
    let sources = ["src/gateway/answer.rs", "src/sql/error.rs"];
    let answered: BTreeSet<String> = sources.into_iter().flat_map(sqlstates).collect();
    let missing = answered.difference(&documented).map(|state| format!("{state} is answered and not documented"));
    let surplus = documented.difference(&answered).filter(|s| s.starts_with(|c: char| c.is_ascii_digit()));
    let surplus = surplus.map(|state| format!("{state} is documented and never answered"));
    expect_none("docs/protocol.md has a row for every SQLSTATE, and no other.", missing.chain(surplus).collect());
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let code = files::read("src/cluster/settings.rs");
    let document = files::read("docs/protocol.md");
    let known = code.split("known(").skip(1).filter_map(|rest| {
        let mut literals = rest.split('"').skip(1).step_by(2);
        Some((literals.next()?, literals.next()?)).filter(|(name, _)| name.contains('_'))
    });
    let row = |(name, default): (&str, &str)| format!("| `{name}` | `{default}` |");
    let rows: Vec<String> = known.map(row).collect();
    assert!(!rows.is_empty(), "the settings in src/cluster/settings.rs were not recognized");
    expect_none(
        "docs/protocol.md has a row for every setting, with its default.",
        rows.into_iter().filter(|row| !document.contains(row)).collect(),
    );
}

#[test]
fn every_table_of_the_catalog_is_documented() {
    let schema = files::read("src/coordinator/store/schema.rs");
    let document = files::read("docs/formats.md");
    let tables = schema.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    let missing = tables.filter(|table| !document.contains(&format!("| `{table}` |")));
    expect_none("docs/formats.md has a row for every table of the catalog.", missing.map(str::to_owned).collect());
}

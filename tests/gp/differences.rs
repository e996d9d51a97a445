//! `docs/greenplum-differences.md` says of each check what the code says.

use segsh::gp::refusals::{CHECKS, Fate};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/greenplum-differences.md");
    std::fs::read_to_string(path).expect("the differences are written down")
}

/// The cells of the tables' rows below a heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = document();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section `{heading}`"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let table = section.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| ---"));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect();
    table.skip(1).map(cells).collect()
}

#[test]
fn every_check_of_gprecoverseg_is_there_with_its_fate_and_its_reason() {
    let rows = rows("The checks of gprecoverseg");
    assert_eq!((rows.len(), CHECKS.len()), (24, 24));
    for (check, row) in CHECKS.iter().zip(&rows) {
        let (fate, why) = match check.fate {
            Fate::Occurs => ("occurs", None),
            Fate::Cannot(why) => ("cannot", Some(why)),
        };
        assert_eq!((row[0].as_str(), row[1].as_str()), (check.name, fate), "{row:?}");
        assert!(why.is_none_or(|why| row[2] == why), "{}: the document gives another reason:\n{}", check.name, row[2]);
        assert!(row[2].len() > 10, "{} has no reason", check.name);
    }
}

#[test]
fn every_difference_has_a_reason() {
    for heading in ["All utilities", "gpstate", "gprecoverseg", "gpstop and gpstart"] {
        let rows = rows(heading);
        assert!(rows.len() >= 3, "{heading}");
        for row in rows {
            assert_eq!(row.len(), 4, "what, there, here, why: {row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }
}

#[test]
fn each_of_the_forty_known_faults_is_answered() {
    let rows = rows("Forty known faults");
    let numbers: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(numbers, (1..=40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.len() == 3 && row[2].len() > 10), "each has an answer");
}

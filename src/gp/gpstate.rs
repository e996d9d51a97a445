//! `gpstate`: its options, and what it says before a layout.

use super::args::{COMMON, Given, Opt, Takes, Wrong, flag, read, refused, value};
use super::layout::Layout;
use super::page::Page;
use super::{About, Utility};

/// In `--help`.
pub const ABOUT: &str = "Shows the state of the cluster; changes nothing. Exit 1 when something needs a look.";

/// The options of its own.
pub const OPTIONS: &[Opt] = &[
    flag("b", &["-b"], "counts (the default)"),
    flag("m", &["-m"], "the mirrors and what they do"),
    flag("e", &["-e"], "only the pairs that need attention"),
    flag("s", &["-s"], "everything of each segment"),
    flag("c", &["-c"], "which mirror belongs to which primary"),
    flag("Q", &["-Q"], "what the catalog alone says"),
    flag("f", &["-f"], "the standby of the coordinator"),
    flag("i", &["-i"], "the release of each segment"),
    flag("p", &["-p"], "the ports"),
    flag("a", &["-a"], "accepted: nothing is asked"),
    value("B", &["-B"], "N", "accepted, 1 to 64: one probe asks all segments at once"),
    value("timeout", &["--timeout"], "S", "accepted: a probe has its own deadlines"),
    value("retries", &["--retries"], "N", "accepted: a probe has its own retries"),
    refused("x", &["-x"], Takes::Nothing, "has no meaning here: a cluster is not expanded"),
    refused(
        "pipe",
        &["--segmentStatusPipeSeparatedForTableUse", "--printSampleExternalTableSql"],
        Takes::Nothing,
        "has no meaning here: there are no external tables; use --json, or `select * from gp_segment_configuration`",
    ),
];

/// A run of `gpstate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub layout: Layout,
    pub given: Given,
}

/// Reads the command line.
pub fn parse(words: &[String]) -> Result<Asked, Wrong> {
    let given = read(&[OPTIONS, COMMON], words)?;
    let mut layouts = Layout::ALL.into_iter().filter(|l| given.has(l.letter()));
    let layout = layouts.next();
    if layouts.next().is_some() {
        return Err(Wrong("Too many output options specified".into()));
    }
    super::args::parallel(&given, 64)?;
    Ok(Asked { layout: layout.unwrap_or(Layout::Summary), given })
}

/// What every run begins with.
pub fn opening(utility: Utility, words: &[String], about: &About) -> Page {
    let mut page = Page::default();
    page.info(format!("Starting {} with args: {}", utility.name(), words.join(" ")).trim_end());
    page.info(format!("local Greenplum Version: '{}'", about.release));
    page
}

/// What is said before the cluster is asked.
pub fn obtaining(about: &About) -> Page {
    let mut page = Page::default();
    page.info(format!("master Greenplum Version: '{}'", about.release));
    page.info(OBTAINING);
    page
}

/// Said before the cluster is asked.
pub const OBTAINING: &str = "Obtaining Segment details from master...";

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Asked, Wrong> {
        crate::gp::typed(parse, line)
    }

    #[test]
    fn one_layout_is_chosen_and_counts_are_the_default() {
        for layout in Layout::ALL {
            let asked = typed(&format!("-{}", layout.letter())).map(|a| a.layout);
            assert_eq!(asked, Ok(layout));
        }
        assert_eq!(typed("").map(|a| a.layout), Ok(Layout::Summary));
        assert_eq!(typed("-qm -d /srv/demo").map(|a| a.layout), Ok(Layout::Mirrors));
        assert_eq!(typed("-m -e"), Err(Wrong("Too many output options specified".into())));
    }

    #[test]
    fn a_degree_out_of_range_is_refused() {
        assert!(typed("-B 64").is_ok());
        for line in ["-B 0", "-B 65"] {
            let wrong = typed(line).expect_err(line);
            assert!(wrong.0.contains("Invalid parallelDegree provided with -B argument"), "{wrong:?}");
        }
    }
}

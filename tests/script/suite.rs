//! `segsh test`: a library's test functions, each by itself.

use crate::fake::{Fake, healthy};
use segsh::cluster::Cluster;
use segsh::shell::render::Style;
use segsh::shell::signals::Signals;
use segsh::shell::suite::isolation::unfit;
use segsh::shell::suite::{Clusters, Report, Suite, SuiteError, Verdict};
use std::path::Path;
use std::sync::Arc;

/// A healthy cluster for each test; at a test of this number somebody presses Ctrl-C.
struct Given {
    given: usize,
    interrupt_at: Option<usize>,
    signals: Signals,
}

impl Clusters for Given {
    fn fresh(&mut self) -> Result<Arc<dyn Cluster>, String> {
        self.given += 1;
        if Some(self.given) == self.interrupt_at {
            self.signals.raise();
        }
        Ok(Fake::new(healthy()))
    }
}

fn library(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    dir
}

fn run_with(path: &Path, filters: &[&str], interrupt_at: Option<usize>) -> Report {
    let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
    let suite = Suite::read(path, &filters).unwrap_or_else(|e| panic!("{e}"));
    let signals = Signals::unattached();
    let mut given = Given { given: 0, interrupt_at, signals: signals.clone() };
    let mut told = Vec::new();
    let report = suite.run(&mut given, &signals, &mut |ended| told.push(ended.name.clone()));
    assert_eq!(told, report.tests.iter().map(|t| t.name.clone()).collect::<Vec<_>>(), "each is told as it ends");
    report
}

fn verdicts(report: &Report) -> Vec<(&str, Verdict)> {
    report.tests.iter().map(|t| (t.name.as_str(), t.verdict())).collect()
}

#[test]
fn each_test_is_a_line_and_a_failure_says_where_and_what_it_printed() {
    let dir = library(&[(
        "limits.rhai",
        "fn two() { 2 }\n\
         fn test_right() { assert_equal(two(), 2) }\n\
         fn test_wrong() {\n    print(\"so far\");\n    assert_equal(two(), 3)\n}\n",
    )]);
    let report = run_with(dir.path(), &[], None);
    assert_eq!(
        verdicts(&report),
        [("limits::test_right", Verdict::Passed), ("limits::test_wrong", Verdict::Failed)],
        "{report:#?}"
    );
    assert!(!report.is_good());
    let text = report.tests[1].text(&Style::default()).replace(&dir.path().display().to_string(), "DIR");
    let (line, rest) = text.split_once('\n').expect("a line and its reason");
    assert!(line.starts_with("FAILED  limits::test_wrong ") && line.len() <= 80, "{line}");
    let expected = "\
error[assertion]: it is 2, expected 3
  --> DIR/limits.rhai:5:5
   |
 5 |     assert_equal(two(), 3)
   |     ^^^^^^^^^^^^
   | so far
";
    assert_eq!(rest, expected);
    let json = report.to_json();
    assert_eq!((&json["passed"], &json["failed"], &json["not_run"]), (&1.into(), &1.into(), &0.into()), "{json:#}");
    let test = &json["tests"][1];
    assert_eq!((&test["status"], &test["printed"][0]), (&"failed".into(), &"so far".into()));
    assert_eq!((&test["error"]["code"], &test["error"]["position"]["line"]), (&"assertion".into(), &5.into()));
    assert!(report.summary(&Style::default()).starts_with("2 tests: 1 passed, 1 failed "));
}

#[test]
fn whatever_a_test_ends_by_is_judged() {
    let dir = library(&[(
        "ends.rhai",
        "fn test_a_unit() {}\n\
         fn test_b_value() { 7 }\n\
         fn test_c_exit_0() { exit(0) }\n\
         fn test_d_false() { state().down.len() > 0 }\n\
         fn test_e_exit() { exit(3) }\n\
         fn test_f_thrown() { throw \"so\" }\n\
         fn test_g_refused() { rebalance(#{ contents: 99 }) }\n\
         fn test_h_bare_assert() { assert(false) }\n",
    )]);
    let report = run_with(dir.path(), &[], None);
    let failed: Vec<&str> =
        report.tests.iter().filter(|t| t.verdict() == Verdict::Failed).map(|t| t.name.as_str()).collect();
    let expected = ["d_false", "e_exit", "f_thrown", "g_refused", "h_bare_assert"].map(|n| format!("ends::test_{n}"));
    assert_eq!(failed, expected, "{report:#?}");
    let json = report.to_json();
    // What no statement of the test says stands at the test itself.
    assert_eq!(json["tests"][3]["error"]["position"]["line"], 4, "{json:#}");
    assert_eq!(json["tests"][3]["error"]["message"], "it returned false");
    assert_eq!(json["tests"][6]["error"]["refusals"][0]["code"], "unknown_target");
}

#[test]
fn a_test_sees_nothing_of_another_and_asks_nobody() {
    let dir = library(&[
        (
            "first.rhai",
            "fn test_leaves_much() {\n  before(\"*\", |p| { throw \"mine\" });\n  fault::kill(state().segment(6));\n}\n",
        ),
        ("second.rhai", "fn test_finds_nothing() {\n  assert_equal(state().down.len(), 0);\n  restart();\n}\n"),
    ]);
    let report = run_with(dir.path(), &[], None);
    assert!(report.is_good(), "{report:#?}");
}

#[test]
fn a_library_s_own_hooks_and_modules_are_what_its_tests_meet() {
    let dir = library(&[
        ("hooks.rhai", "before(\"restart\", |plan| { throw \"not here\" });\n"),
        (
            "racks/of.rhai",
            "fn rack(host) { if host == \"sdw1\" { \"a\" } else { \"b\" } }\nfn test_rack() { assert_equal(rack(\"sdw1\"), \"a\") }\n",
        ),
        (
            "rules.rhai",
            "import \"racks/of\" as racks;\n\
             fn test_imports() { import \"racks/of\" as racks; assert_equal(racks::rack(\"sdw2\"), \"b\") }\n\
             fn test_veto() { let o = restart(#{ contents: 0, raise: false }); assert_equal(o.refusals[0].code, \"vetoed\") }\n",
        ),
    ]);
    // Nobody else may have written what vetoes.
    use std::os::unix::fs::PermissionsExt;
    for name in ["", "hooks.rhai", "racks", "racks/of.rhai", "rules.rhai"] {
        let mode = if name.ends_with("rhai") { 0o600 } else { 0o700 };
        std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).expect("it is ours");
    }
    let report = run_with(dir.path(), &[], None);
    assert_eq!(
        verdicts(&report),
        [
            ("racks/of::test_rack", Verdict::Passed),
            ("rules::test_imports", Verdict::Passed),
            ("rules::test_veto", Verdict::Passed)
        ],
        "{report:#?}"
    );
}

#[test]
fn a_module_with_errors_is_reported_and_its_tests_are_not_run() {
    let dir = library(&[
        ("bad.rhai", "fn f() { recoverr() }\nfn test_bad() { }\n"),
        ("good.rhai", "fn test_good() { }\n"),
        ("acts.rhai", "fn test_acts() { }\n\nprint(\"at every import\");\n"),
        ("not.rhai", "fn test_of(host) { }\nprivate fn test_mine() { }\n"),
        ("script.rhai", "print(state());\n"),
    ]);
    let report = run_with(dir.path(), &[], None);
    assert_eq!(
        verdicts(&report),
        [
            ("acts::test_acts", Verdict::NotRun),
            ("bad::test_bad", Verdict::NotRun),
            ("good::test_good", Verdict::Passed)
        ]
    );
    let json = report.to_json();
    let mut found: Vec<(String, i64)> = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| (f["code"].as_str().unwrap_or_default().to_string(), f["position"]["line"].as_i64().unwrap_or(0)))
        .collect();
    found.sort();
    let expected = [("module", 3), ("not_a_test", 1), ("not_a_test", 2), ("unknown_function", 1)];
    assert_eq!(found, expected.map(|(code, line)| (code.to_string(), line)), "{json:#}");
    assert!(!report.is_good());
}

#[test]
fn tests_are_chosen_by_name_and_a_name_that_none_has_is_told_the_near_one() {
    let text = "fn test_hosts() { }\nfn test_ports() { }\n";
    let dir = library(&[("a.rhai", text), ("b.rhai", text)]);
    let chosen =
        |filters: &[&str]| run_with(dir.path(), filters, None).tests.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    assert_eq!(chosen(&["hosts"]), ["a::test_hosts", "b::test_hosts"]);
    assert_eq!(chosen(&["a::", "b::test_p"]), ["a::test_hosts", "a::test_ports", "b::test_ports"]);
    let one = run_with(&dir.path().join("b.rhai"), &[], None);
    assert_eq!(one.tests.len(), 2, "a single module of the library");
    let error = Suite::read(dir.path(), &["test_host".into(), "test_prots".into()]).err().expect("no such test");
    assert!(error.to_string().ends_with("`test_prots`; is it `test_ports`?"), "{error}");
    let empty = library(&[("lib.rhai", "fn f() { }\n")]);
    assert!(matches!(Suite::read(empty.path(), &[]), Err(SuiteError::NoTests { .. })));
    assert!(matches!(Suite::read(library(&[]).path(), &[]), Err(SuiteError::NoModules { .. })));
    assert!(matches!(Suite::read(Path::new("/nowhere"), &[]), Err(SuiteError::Unreadable { .. })));
}

#[test]
fn ctrl_c_ends_the_test_that_runs_and_begins_no_other() {
    let text = "fn test_a() { }\nfn test_b() { try { loop { } } catch { } }\nfn test_c() { }\n";
    let report = run_with(library(&[("m.rhai", text)]).path(), &[], Some(2));
    let expected = [("m::test_a", Verdict::Passed), ("m::test_b", Verdict::NotRun), ("m::test_c", Verdict::NotRun)];
    assert_eq!(verdicts(&report), expected);
    assert!(report.interrupted && !report.timed_out && !report.is_good());
}

#[test]
fn tests_without_a_cluster_are_not_run_and_the_reason_is_told_once() {
    struct Nobody;
    impl Clusters for Nobody {
        fn fresh(&mut self) -> Result<Arc<dyn Cluster>, String> {
            Err("the demo's keeper did not start".into())
        }
    }
    let dir = library(&[("m.rhai", "fn test_a() { }\nfn test_b() { }\n")]);
    let suite = Suite::read(dir.path(), &[]).expect("a library");
    let report = suite.run(&mut Nobody, &Signals::unattached(), &mut |_| ());
    assert!(report.had_no_cluster() && !report.is_good());
    let summary = report.summary(&Style::default());
    assert_eq!(summary.matches("keeper did not start").count(), 1, "{summary}");
    assert!(report.tests.iter().all(|t| t.text(&Style::default()).trim_end().ends_with("no cluster")));
}

#[test]
fn a_cluster_on_which_something_is_wrong_is_not_fit_to_begin_on() {
    use crate::fake::Break;
    assert_eq!(unfit(&healthy()), None);
    type Change = fn(&mut segsh::cluster::State);
    let broken: [(&str, Change); 4] = [
        ("down", |s| s.lose_mirror(0)),
        ("preferred", |s| s.swap(0)),
        ("host", |s| s.host_down("sdw1")),
        ("paused", |s| s.fts_paused_until_ms = Some(1)),
    ];
    for (word, change) in broken {
        let mut state = healthy();
        change(&mut state);
        assert!(unfit(&state).is_some_and(|why| why.contains(word)), "{word}: {:?}", unfit(&state));
    }
}

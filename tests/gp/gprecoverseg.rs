//! `gprecoverseg`: what it shows before it asks, the list it reads and writes, and each check that it makes.

use crate::conditions;
use segsh::cluster::{PairHealth, State, plan};
use segsh::core::ids::{Content, Dbid};
use segsh::core::row::Status;
use segsh::gp::failure::Failure;
use segsh::gp::gprecoverseg::{Readiness, checking, down, may_rebalance, mirrored, parse, readiness};
use segsh::gp::line::Line;
use segsh::gp::page::Page;
use segsh::gp::refusals::{self, CHECKS, Fate};
use segsh::gp::steps::Steps;
use segsh::gp::{About, Utility, display, file, gpstate, split_words};

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.unstamped() + "\n").collect()
}

fn shown(page: &Page) -> String {
    text(&page.lines())
}

fn said(failure: &Failure) -> String {
    format!("{}exit {}\n", text(&failure.lines(Utility::Gprecoverseg)), failure.exit())
}

fn wrong(line: &str) -> Failure {
    parse(&split_words(line).expect("a plain line")).expect_err(line).into()
}

fn planned(state: &State, line: &str) -> segsh::cluster::Plan {
    let asked = parse(&split_words(line).expect("a plain line")).expect(line);
    plan(state, &asked.intent(Vec::new()), 0)
}

#[test]
fn what_will_be_recovered_is_shown_with_both_sides() {
    let state = conditions::switched_tracking();
    insta::assert_snapshot!("recovery", shown(&display::recovery(&state, &planned(&state, ""), false)));
    let full = shown(&display::recovery(&state, &planned(&state, "-F"), true));
    assert!(full.contains("Synchronization mode                        = Full"), "{full}");
    assert!(full.contains("Recovery from configuration -i option supplied"), "{full}");
    let mut state = conditions::switched_synchronized();
    for segment in &mut state.segments {
        segment.free_bytes = Some(100 << 30);
    }
    let page = display::rebalance(&state, &planned(&state, "-r"));
    insta::assert_snapshot!("rebalance", format!("{}{}", shown(&page), shown(&display::rebalance_warning())));
    assert_eq!(display::prompt(display::RECOVER), "\nContinue with segment recovery procedure Yy|Nn (default=N):\n> ");
}

#[test]
fn every_step_is_said_in_the_order_of_old() {
    let about = About { release: "segsh 1.0.0".into(), server_version: "15.0 (segsh)".into() };
    let opening = gpstate::opening(Utility::Gprecoverseg, &["-a".into()], &about);
    let taken = |is_rebalance: bool| text(&Steps::new(is_rebalance, vec![Dbid(6), Dbid(7)]).rest());
    let failed = [("sdw1:6003:/srv/primary/c1-3".to_string(), "its host does not answer".to_string())];
    let again = format!("{}\n", Line::info(gpstate::OBTAINING).unstamped());
    let screens = [
        ("opening", format!("{}{}", shown(&opening), shown(&checking(&about))), again),
        ("recovery", taken(false), shown(&display::recovered(2, &[]))),
        ("recovery in part", taken(false), shown(&display::recovered(2, &failed))),
        ("recovery of none", String::new(), shown(&display::recovered(1, &failed))),
        ("rebalance", taken(true), shown(&display::rebalanced(&[]))),
        ("rebalance in part", taken(true), shown(&display::rebalanced(&failed))),
    ];
    let screens = screens.map(|(name, first, second)| format!("{name}\n{first}{second}")).join("\n");
    insta::assert_snapshot!("steps", screens);
}

#[test]
fn only_a_clear_yes_is_a_yes() {
    for (typed, means) in
        [("y", Some(true)), ("Y", Some(true)), ("yes", Some(true)), ("", Some(false)), ("n", Some(false))]
    {
        assert_eq!(display::answer(typed), means, "`{typed}`");
    }
    assert_eq!(display::answer("what"), None, "it is asked again");
}

#[test]
fn a_list_that_was_written_is_read_back() {
    let mut state = conditions::host_down();
    state.segments[0].row.address = "fd00::11".into();
    let text = file::write(&down(&state));
    insta::assert_snapshot!("list", text);
    assert_eq!(file::read(&text, "list", &state), Ok(vec![Dbid(2), Dbid(3), Dbid(8), Dbid(9)]));
    let commented = text.replace("filespaceOrder=\n", "# ours\n\nfilespaceOrder=\n  # those:\n");
    assert_eq!(file::read(&commented, "list", &state).map(|dbids| dbids.len()), Ok(4));
    assert_eq!(file::read("filespaceOrder=\n", "list", &state), Ok(Vec::new()));
}

#[test]
fn a_later_format_is_answered_with_the_line_it_would_be() {
    let state = conditions::switched_tracking();
    let later =
        "filespaceOrder=\nsdw1|6003|/srv/primary/c1-3\nsdw1|127.7.3.11|6003|/srv/primary/c1-3 sdw9|6003|/srv/x\n";
    let failure = file::read(later, "list", &state).expect_err("another format");
    insta::assert_snapshot!("later_format", said(&failure));
}

/// One content about which nothing is decided.
fn quarantined() -> State {
    let mut state = conditions::healthy();
    let detail = state.contents.iter_mut().find(|c| c.content == Content(1)).expect("content 1");
    detail.health = PairHealth::Quarantined;
    detail.quarantine = Some("dbid 7 knows epoch 9, the catalog 1".into());
    state
}

/// Every check by an example: what is said, as it is said.
fn example(check: &str) -> Option<String> {
    let listed = |text: &str| {
        let state = conditions::switched_tracking();
        said(&file::read(text, "/tmp/list", &state).expect_err(text))
    };
    let never = |state: &State| match readiness(state) {
        Readiness::Never(failure) => said(&failure),
        other => panic!("{other:?}"),
    };
    Some(match check {
        "stray argument" => said(&wrong("-a now")),
        "-B range" => said(&wrong("-B 65")),
        "exclusivity" => said(&wrong("-r -i /tmp/list")),
        "environment" => said(&refusals::no_directory(Utility::Gprecoverseg)),
        "lock held" => said(&refusals::already_running("recover", 4711, 12)),
        "readiness" => {
            let mut state = conditions::healthy();
            state.segments[4].alive.alive = false;
            assert_eq!((readiness(&state), state.segments[4].row.status), (Readiness::NotYet, Status::Up));
            let tries: Vec<Line> = (1..=refusals::TRIES).map(refusals::retrying).collect();
            format!("{}{}", text(&tries), said(&refusals::not_ready()))
        }
        "segment state" => never(&quarantined()),
        "strategy" => said(&mirrored(&conditions::no_mirrors()).expect_err("no mirrors")),
        "double fault" => never(&conditions::double_fault()),
        "live peer" => listed("filespaceOrder=\n127.7.3.12:7003:/srv/mirror/c1-7\n"),
        "-i lookup" => listed(
            "filespaceOrder=\n127.7.3.11:6003:/srv/elsewhere\n127.7.3.11:6003:/srv/primary/c1-3\n127.7.3.11:6003:/srv/primary/c1-3\n",
        ),
        "-i syntax" => listed("127.7.3.11\n127.7.3.11:six:/srv/primary/c1-3\na b c\n127.7.3.11:6003\n"),
        "filespaces" => listed("filespaceOrder=fast:slow\n"),
        "path" => listed("filespaceOrder=\n127.7.3.11:6003:srv/primary/c1-3\n"),
        "-r with a segment down" => said(&may_rebalance(&conditions::mirror_down()).expect_err("one is down")),
        "-r while not synchronized" => said(&may_rebalance(&conditions::resynchronizing()).expect_err("it is copied")),
        _ => return None,
    })
}

#[test]
fn each_check_that_occurs_is_as_reviewed_and_no_other_has_an_example() {
    let mut examples = String::new();
    for check in CHECKS {
        let found = example(check.name);
        assert_eq!(found.is_some(), check.fate == Fate::Occurs, "{}", check.name);
        if let Some(said) = found {
            examples.push_str(&format!("{}\n{said}\n", check.name));
        }
    }
    insta::assert_snapshot!("checks", examples);
}

#[test]
fn a_double_fault_hides_nothing_and_is_not_waited_for() {
    let mut state = quarantined();
    let both = conditions::double_fault();
    state.contents[0] = segsh::cluster::ContentState { content: Content(0), ..both.contents[1].clone() };
    let Readiness::Never(failure) = readiness(&state) else { panic!("it is lost") };
    let said = said(&failure);
    assert!(said.contains("content 0 are down") && said.contains("dbid 7 knows epoch 9"), "{said}");
}

#[test]
fn a_mirror_that_is_up_is_never_recovered_by_a_list() {
    let state = conditions::healthy();
    let failure = file::read("filespaceOrder=\n127.7.3.12:7002:/srv/mirror/c0-6\n", "list", &state);
    assert!(said(&failure.expect_err("it is up")).contains("Segment with dbid 6 is up"));
    let moved = "filespaceOrder=\n127.7.3.12:7002:/srv/mirror/c0-6 127.7.3.13:7002:9002:/srv/new\n";
    assert!(said(&file::read(moved, "list", &state).expect_err("two groups")).contains("a line with two groups"));
}

//! The prompt in a pseudo-terminal on a real cluster: what it knows, what it says by itself, and what
//! Ctrl-C means while an operation runs.

use crate::during_recovery::{hold, release};
use crate::limits::fall_behind;
use crate::support::status::{SYNCHRONIZED, Status, TRACKING, TRACKING_UNFINISHED};
use crate::support::terminal::Terminal;
use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for};
use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

const INTERRUPT: &str = "\x03";

#[test]
fn a_change_is_said_above_the_line_that_is_half_typed() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.keys("half_typed");
    terminal.expect("half_typed");
    processes::kill(cluster.status().pair(0).mirror.running());
    terminal.expect("is down");
    terminal.expect("half_typed");
    terminal.keys(" + 1");
    terminal.expect("+ 1");
    // The line is as it was: what is evaluated is what was typed before and after.
    terminal.answers("", "there is no variable `half_typed`");
    terminal.expect("single copy 0]");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn a_coordinator_that_hangs_delays_no_line_and_its_state_is_called_old() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.answers("print(\"ready\" + \" now\")", "ready now");
    let coordinator = cluster.status().coordinator.pid.expect("it runs");
    processes::stop(coordinator);
    let begun = Instant::now();
    for n in 0..10 {
        terminal.answers(&format!("1111 * 7 + {n}"), &(7777 + n).to_string());
    }
    let took = begun.elapsed();
    // Each of them would wait for 15 s, had it to ask the coordinator.
    assert!(took < secs(10), "ten lines took {took:?} beside a coordinator that hangs");
    terminal.answers("sleep(\"6s\")", " ago]");
    assert!(processes::resume(coordinator));
    terminal.type_line("quit");
    terminal.expect_end();
}

/// Whether a sequence that sets a colour, bold or dim is in it; moves of the cursor are none.
fn has_colour(text: &str) -> bool {
    let parameters = |c: char| c.is_ascii_digit() || c == ';';
    text.split("\x1b[").skip(1).any(|rest| rest.trim_start_matches(parameters).starts_with('m'))
}

#[test]
fn completion_hints_and_the_search_of_the_history_work_on_the_keyboard() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.keys("state().content(0).prim\t");
    terminal.expect("primary");
    terminal.keys(".preferred_role_\t");
    terminal.expect("preferred_role_name");
    terminal.answers("", "\nprimary");
    terminal.expect_prompt();
    terminal.keys("recover(#{ hosts: \"\t");
    terminal.expect("sdw2");
    terminal.interrupt();
    terminal.keys("ping(");
    terminal.expect("// ping(host: string) -> map");
    terminal.interrupt();
    terminal.keys("setting(\"segsh_prod\t");
    terminal.expect("segsh_production");
    terminal.interrupt();
    terminal.keys(":d\t");
    terminal.expect("// calls are only rehearsed");
    terminal.interrupt();
    terminal.answers("let a_plan = plan_recover(); print(\"plan\" + \" made\")", "plan made");
    terminal.expect_prompt();
    terminal.keys("a_plan.refus\t");
    terminal.expect("refusals");
    terminal.interrupt();
    // Ctrl-R finds the line of before, and Enter takes it.
    terminal.keys("\x12plan_rec");
    terminal.expect("a_plan = plan_recover()");
    terminal.answers("", "plan made");
    terminal.expect_prompt();
    terminal.type_line("fn mine(x) {\n  x * 7\n}");
    terminal.expect_prompt();
    let begun = terminal.answers("mine(6) + 100", "142");
    assert!(!has_colour(&begun), "NO_COLOR is kept: {begun:?}");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn a_watch_is_drawn_again_follows_a_resize_and_ends_with_ctrl_c() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.answers(":watch 100ms state", "every 100 ms, until Ctrl-C: state()");
    terminal.expect("segments up");
    // In place: the cursor goes up over what was drawn before.
    terminal.expect("A\r\x1b[J");
    terminal.expect("segments up");
    terminal.resize(70, 20);
    terminal.expect("\x1b[H\x1b[2J");
    terminal.expect("segments up");
    terminal.interrupt();
    terminal.answers("40 + 2000", "2040");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn the_colon_commands_shape_what_is_shown() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.answers(":vertical sql(\"select 40 + 2 as answer\")", "-- 1 --");
    terminal.expect(" answer  42");
    terminal.answers(":json", "values are shown as JSON");
    terminal.answers("state", "\"operational\": true");
    terminal.answers(":json", "values are shown as screens");
    terminal.answers(":timing", "timing is on");
    terminal.answers("1 + 1", " ms");
    terminal.answers(":nonsense", "there is no command `:nonsense`");
    terminal.answers(":dry", "nothing is changed");
    terminal.expect("(dry run)> ");
    terminal.answers("restart()", "planned");
    terminal.answers(":dry", "calls act again");
    terminal.answers("setting(\"segsh_production\", \"on\")", "(production)> ");
    terminal.answers("maintenance(\"sdw2\", \"30m\", \"disk swap\")", "(production) [sdw2 in maintenance ");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn a_startup_file_is_for_the_prompt_only_and_refused_when_others_can_write_it() {
    let cluster = Cluster::new(1);
    let dir = cluster.place().path().join("home/.config/segsh");
    std::fs::create_dir_all(&dir).expect("a home takes a directory");
    let file = dir.join("startup.rhai");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    std::fs::write(&file, "fn mine() { 40 + 2000 }\nlet number = 7;").expect("a directory takes a file");
    mode(&dir, 0o700);
    mode(&file, 0o600);
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.answers("mine() + number", "2047");
    terminal.type_line("quit");
    terminal.expect_end();
    cluster.eval("mine()").exits(1).says("unknown_function");
    mode(&file, 0o666);
    let mut command = cluster.place().command();
    command.arg("-c").arg(cluster.dir());
    let mut terminal = Terminal::spawn(command);
    terminal.expect("others than you may write it");
    terminal.type_line("quit");
    terminal.expect_end();
}

/// Ctrl-C in a recovery that is held at its copy: each of the four answers, one after the other.
#[test]
fn each_answer_to_ctrl_c_does_to_a_running_recovery_what_it_says() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 100);
    hold(&cluster, "data_copy");
    let mut terminal = Terminal::prompt_of(&cluster);
    let question = "(k)eep watching? [k] ";

    terminal.answers("recover()", "Go on? [y/N] ");
    terminal.answers("y", "data copy");
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.answers("k", "data copy");
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.answers("d", "goes on at the coordinator");
    terminal.expect("what stood behind it in the line was not run");
    terminal.expect_prompt();
    assert_eq!(cluster.segsh(&["-e", "recoveries().len()"]).ok().text(), "1", "it was only left");

    // The same call again joins it, and asks nothing.
    terminal.answers("recover()", "data copy");
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.answers("c", "cancelled");
    terminal.expect_prompt();
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    cluster.wait_until_nothing_runs(secs(20));

    // A hold is over with the recovery that came to it.
    hold(&cluster, "data_copy");
    terminal.answers("recover()", "Go on? [y/N] ");
    terminal.answers("y", "data copy");
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.answers("s", "stops after the segment under way");
    release(&cluster);
    terminal.expect("synchronized");
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));
    terminal.answers("40 + 2000", "2040");
    terminal.type_line("quit");
    terminal.expect_end();
}

/// A restart of everything is driven by the shell itself: it can be left alone, and goes on behind the prompt.
#[test]
fn a_restart_that_is_left_alone_goes_on_behind_the_prompt() {
    let cluster = Cluster::new(1);
    let before = cluster.status();
    let mut session = cluster.content(0);
    session.run("begin");
    let mut terminal = Terminal::prompt_of(&cluster);
    let question = "(k)eep watching? [k] ";
    terminal.answers("restart(#{ mode: \"smart\" })", "to go on: ");
    terminal.type_line(&before.cluster);
    wait_for("the stop to be under way", secs(20), || cluster.eval("verify()").stderr.contains("stopping"));
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.type_line("k");
    // A look later it still watches: the next Ctrl-C asks again.
    terminal.expect("content 0");
    terminal.keys(INTERRUPT);
    terminal.expect(question);
    terminal.answers("l", "left: it goes on as long as this shell does");
    terminal.expect_prompt();
    terminal.answers("40 + 2000", "2040");
    drop(session);
    // A coordinator that has just begun tells its catalog's rows before it has seen a segment, and segments
    // are seen alive before the start has made a pair of them.
    wait_for("the cluster to be started again", secs(60), || {
        let ran = cluster.lifecycle("status", &["--json"]);
        let document = if ran.code == 0 { ran.json() } else { return false };
        let ended = document["contents"][0]["operation"].is_null();
        let now: Status = serde_json::from_value(document).expect("a status");
        let is_anew = now.coordinator.pid != before.coordinator.pid && now.segments.iter().all(|s| s.alive);
        ended && is_anew && now.is_synchronized()
    });
    terminal.answers("state", "2 of 2 segments up");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn with_colours_a_function_that_nobody_knows_is_red_and_an_unhealthy_prompt_is_no_longer_plain() {
    let cluster = Cluster::new(1);
    let mut command = cluster.place().command();
    command.arg("-c").arg(cluster.dir()).env_remove("NO_COLOR");
    let mut terminal = Terminal::spawn_in_colour(command);
    terminal.expect("help() for help");
    terminal.expect_prompt();
    terminal.keys("recoverr(");
    terminal.expect("\x1b[1;31mrecoverr\x1b[0m");
    terminal.interrupt();
    terminal.keys("recover(");
    terminal.expect("\x1b[36mrecover\x1b[0m");
    terminal.interrupt();
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    terminal.type_line("");
    terminal.expect("[\x1b[1;33m1/2 up");
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn a_terminal_that_is_closed_leaves_the_recovery_running() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 100);
    hold(&cluster, "data_copy");
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.answers("recover()", "Go on? [y/N] ");
    terminal.answers("y", "data copy");
    assert!(processes::signal(terminal.pid(), Signal::HUP));
    terminal.expect_end();
    assert_eq!(cluster.segsh(&["-e", "recoveries().len()"]).ok().text(), "1", "it goes on at the coordinator");
    release(&cluster);
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(40));
}

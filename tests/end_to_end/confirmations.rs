//! What a change asks before it is made: in proportion to the damage, at a terminal only, and what a flag says
//! instead of a person.

use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::terminal::Terminal;
use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for};

const REVERSIBLE: &str = "Go on? [y/N] ";
const DECLINED: &str = "Nothing was changed";

fn lose_mirror(cluster: &Cluster, content: i64) {
    processes::kill(cluster.status().pair(content).mirror.running());
    cluster.wait_for_pair(content, TRACKING, secs(20));
}

/// Answers the question of a call, and waits for it to be called declined.
#[track_caller]
fn declines(terminal: &mut Terminal, call: &str, question: &str, answer: &str) {
    terminal.answers(call, question);
    terminal.answers(answer, DECLINED);
    terminal.expect_prompt();
}

#[test]
fn the_graver_a_change_the_more_has_to_be_typed_and_anything_else_declines() {
    let cluster = Cluster::new(2);
    lose_mirror(&cluster, 0);
    lose_mirror(&cluster, 1);
    let host = cluster.status().pair(0).mirror.host;
    let name = cluster.status().cluster;
    let the_host = format!("Type {host} to go on: ");
    let the_name = format!("Type its name, {name}, to go on: ");
    let mut terminal = Terminal::prompt_of(&cluster);
    for no in ["n", "", "sure"] {
        declines(&mut terminal, "recover()", REVERSIBLE, no);
    }
    // What is typed before a question is there is no answer to it.
    terminal.keys("recover()\ry\r");
    terminal.expect(REVERSIBLE);
    terminal.answers("", DECLINED);
    terminal.expect_prompt();
    declines(&mut terminal, "full_recover()", "Type 2 to go on: ", "y");
    declines(&mut terminal, "full_recover(#{ contents: 0 })", &the_host, "yes");
    declines(&mut terminal, "restart()", &the_name, "y");
    declines(&mut terminal, "restart(#{ contents: 0 })", REVERSIBLE, "no");
    // Ctrl-C and Ctrl-D at a question are no yes either.
    terminal.answers("recover()", REVERSIBLE);
    terminal.interrupt();
    terminal.answers("recover()", REVERSIBLE);
    terminal.keys("\x04");
    terminal.expect(DECLINED);
    terminal.expect_prompt();
    assert_eq!([0, 1].map(|content| cluster.status().pair(content).letters()), [TRACKING, TRACKING]);

    terminal.answers("full_recover(#{ contents: 0 })", &the_host);
    terminal.answers(&host, "1 of 1 in ");
    terminal.expect_prompt();
    terminal.answers("recover()", REVERSIBLE);
    terminal.answers("y", "1 of 1 in ");
    terminal.expect_prompt();
    assert_eq!([0, 1].map(|content| cluster.status().pair(content).letters()), [SYNCHRONIZED, SYNCHRONIZED]);

    // The last resort has a word of its own.
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let force = format!("force_primary(#{{ dbids: {} }})", pair.mirror.dbid);
    declines(&mut terminal, &force, "Type override to go on: ", &host);
    terminal.type_line("quit");
    terminal.expect_end();
    let said = cluster
        .status()
        .segments
        .iter()
        .filter(|s| s.content == 0 && s.role == "p")
        .map(|s| s.dbid)
        .collect::<Vec<_>>();
    assert_eq!(said, [pair.primary.dbid], "nothing was forced");
}

#[test]
fn a_command_at_a_terminal_asks_as_the_prompt_does_and_a_no_is_exit_4() {
    let cluster = Cluster::new(1);
    lose_mirror(&cluster, 0);
    let at_terminal = |arguments: &[&str]| {
        let mut command = cluster.place().command();
        command.arg("-c").arg(cluster.dir()).args(arguments);
        Terminal::spawn(command)
    };
    for (arguments, question) in [
        (&["-e", "recover()"][..], REVERSIBLE),
        (&["recover"], REVERSIBLE),
        (&["--yes", "-e", "restart()"], "to go on: "),
        (&["--yes=restart", "-e", "full_recover()"], "to go on: "),
    ] {
        let mut terminal = at_terminal(arguments);
        terminal.expect(question);
        terminal.answers("no", DECLINED);
        terminal.expect_end();
        assert_eq!(terminal.exit_code(), 4, "{arguments:?}");
    }
    let mut terminal = at_terminal(&["recover"]);
    terminal.expect(REVERSIBLE);
    terminal.answers("y", "1 of 1 in ");
    terminal.expect_end();
    assert_eq!(terminal.exit_code(), 0);
}

/// Every way of not having a terminal, in a shell that has one: what could be asked there would be.
#[test]
fn without_a_terminal_nothing_is_asked_and_the_refusal_says_which_flag_would_do() {
    let cluster = Cluster::new(1);
    lose_mirror(&cluster, 0);
    let calls = [
        ("recover()", "--yes"),
        ("full_recover()", "--yes=full_recover"),
        ("restart()", "--yes=restart"),
        ("restart(#{ contents: 0 })", "--yes"),
    ];
    let ways = [
        ("a file", "\"$segsh\" \"$@\" < /dev/null"),
        ("a closed descriptor", "\"$segsh\" \"$@\" <&-"),
        ("a pipe that stays open", "[[ -p pipe ]] || mkfifo pipe; \"$segsh\" \"$@\" 0<> pipe"),
        ("a session of its own", "setsid --wait \"$segsh\" \"$@\" < /dev/null"),
        ("no standard error", "\"$segsh\" \"$@\" 2> \"$said\"; code=$?; cat \"$said\"; (exit $code)"),
        ("closed standard error", "\"$segsh\" \"$@\" 2>&-"),
    ];
    let script =
        cluster.place().file("ways.sh", "said=$PWD/said; segsh=$1; way=$2; shift 2; eval \"$way\"; echo \"code $?.\"");
    for (what, way) in ways {
        for (call, flag) in calls {
            let ours = cluster.place().command();
            let mut command = std::process::Command::new("bash");
            command.arg(&script).arg(ours.get_program()).arg(way).arg("-c").arg(cluster.dir()).args(["-e", call]);
            command.current_dir(cluster.place().path());
            ours.get_envs().for_each(|(name, value)| match value {
                Some(value) => drop(command.env(name, value)),
                None => drop(command.env_remove(name)),
            });
            let mut terminal = Terminal::spawn(command);
            let said = terminal.expect("code 4.");
            assert!(!said.contains("[y/N]") && !said.contains("to go on"), "{what}, {call}: {said}");
            let is_heard = what != "closed standard error";
            assert!(!is_heard || said.contains(&format!("next: {flag}")), "{what}, {call}: {said}");
            terminal.expect_end();
        }
    }
    assert_eq!(cluster.status().pair(0).letters(), TRACKING, "nothing was changed");
    cluster.lifecycle("destroy", &[]).exits(4).says("next: ");
}

#[test]
fn a_list_of_yes_covers_what_it_names_and_the_reversible() {
    let cluster = Cluster::new(1);
    lose_mirror(&cluster, 0);
    cluster.segsh(&["--yes=everything", "-e", "recover()"]).exits(2).says("full_recover");
    cluster.segsh(&["--yes=restart", "-e", "full_recover()"]).exits(4).says("--yes=full_recover");
    cluster.segsh(&["--yes=full_recover", "-e", "restart()"]).exits(4).says("--yes=restart");
    cluster.segsh(&["--yes=restart,full_recover", "-e", "full_recover()"]).ok();
    lose_mirror(&cluster, 0);
    cluster.segsh(&["--yes=restart", "-e", "recover()"]).ok();
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
}

//! A newcomer's first words at the prompt: each gets an answer that helps.

use crate::support::Cluster;
use crate::support::terminal::Terminal;

#[test]
fn the_first_words_of_a_newcomer_are_answered() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    for (typed, answer) in [
        ("help", "begin with state(), why() and recover()"),
        ("?", "begin with state(), why() and recover()"),
        ("state", "2 of 2 segments up"),
        ("status", "2 of 2 segments up"),
        ("State()", "is it `state`?"),
        ("recover", "would find nothing to do"),
        ("recover(2)", "next: recover(#{ contents: 2 }) or recover(#{ dbids: 2 })"),
        ("recover(\"sdw2\")", "next: recover(#{ hosts: \"sdw2\" })"),
        ("recover(only:[2])", "#{ contents: [2] }"),
        ("gpstate -e", "[INFO]:-All segments are running normally"),
        ("gprecoverseg -r", "[INFO]:-No segments are running in their non-preferred role"),
        ("\\dt", "is a command of psql"),
        ("select 1", "SQL is given to sql()"),
        ("let a = 1 let b = 2", "error[syntax]"),
        ("print(state)", "is a function: write state()"),
        ("recover(#{ contens: 2 })", "is it `contents`?"),
        ("ping sdw1", "arguments stand in parentheses"),
    ] {
        terminal.answers(typed, answer);
    }
    // A forgotten parenthesis: the line goes on, says how it ends, and an empty line ends it.
    terminal.answers("print(state()", "an empty line ends it");
    terminal.answers("", "error[syntax]");
    terminal.type_line("exit()");
    terminal.expect_end();
    let mut terminal = Terminal::prompt_of(&cluster);
    terminal.type_line("quit");
    terminal.expect_end();
}

#[test]
fn a_bare_name_that_changes_the_cluster_says_what_it_would_do_and_does_nothing() {
    let cluster = Cluster::new(1);
    let mut terminal = Terminal::prompt_of(&cluster);
    let said = terminal.answers("restart", "would do; nothing was done");
    assert!(said.contains("content 0"), "{said}");
    cluster.fail_over(0);
    terminal.answers("rebalance", "would be refused now");
    terminal.expect("segment_down");
    let said = terminal.answers("recover", "would do; nothing was done");
    assert!(said.contains("1 segment"), "{said}");
    terminal.type_line("quit");
    terminal.expect_end();
    assert!(cluster.status().segments.iter().any(|s| s.status == "d"), "nothing was recovered");
}

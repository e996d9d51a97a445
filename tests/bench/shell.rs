//! What a person waits for at the shell: the start of the program beside psql's, the screen of a large
//! cluster, and a key.

use crate::Bench;
use crate::postgres;
use crate::program::{self, timed};
use crate::report::{Goal, Ratio, Row, Unit};
use crate::statistics::Samples;
use crate::support::{Cluster, Place};
use segsh::cluster::{PairHealth, State};
use segsh::core::row::{Mode, Role, Status};
use segsh::script::json::state_json;
use segsh::shell::complete::{Known, complete};
use segsh::shell::highlight::colored;
use segsh::shell::hint::hint;
use segsh::shell::render::{Screens, Style};
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONTENTS: i64 = 500;
/// One frame of a screen: a person sees no delay below it.
const FRAME_S: f64 = 1.0 / 60.0;
/// What is shorter than a look at the clock is timed so many times over.
const REPEATS: usize = 5;

/// Lines as they are typed; each key of them is timed.
const LINES: &[&str] = &[
    "state().content(2).primary.preferred_role_name",
    "recover(#{ contents: [1, 2, 3], timeout: \"10m\", rate: \"50 MiB/s\" })",
    "let p = plan_rebalance(#{ hosts: \"sdw1\" }); print(p.refusals)",
    "for s in state().down { print(`${s.dbid} on ${s.host}`) }",
    "verify()",
];

pub fn run(bench: &mut Bench) {
    starts(bench);
    let (healthy, broken) = (state_of(CONTENTS, 0), state_of(CONTENTS, CONTENTS / 10));
    screens(bench, &healthy, &broken);
    keys(bench, &broken);
}

/// Programs from their start to their end, turn about: psql's own binary, not the wrapper that Debian puts
/// before it, on the same coordinator.
fn starts(bench: &mut Bench) {
    let psql = match postgres::program("psql") {
        Ok(psql) => psql,
        Err(why) => return bench.skip(format!("the start of the shell: {why}")),
    };
    let cluster = Cluster::with_place(Place::beneath(bench.root.path()), 1, &[]);
    let rounds = if bench.quick { 30 } else { 200 };
    bench.say(&format!("{rounds} starts of segsh beside psql"));
    let installed = match installed(bench.root.path()) {
        Ok(program) => program,
        Err(why) => return bench.skip(format!("the start of the shell: {why}")),
    };
    let segsh = |arguments: &[&str]| {
        let mut command = Command::new(&installed);
        let ours = cluster.place().command();
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(arguments).current_dir(cluster.place().path());
        command
    };
    let dir = cluster.dir().to_str().expect("a plain name");
    let [mut peer, mut least, mut one, mut state] = [const { Samples(Vec::new()) }; 4];
    // The first of each reads its program from the disk.
    for round in 0..=rounds {
        let took = [
            program::run(psql_command(&psql, &cluster)).seconds,
            program::run(segsh(&["--version"])).seconds,
            program::run(segsh(&["-c", dir, "-e", "1"])).seconds,
            program::run(segsh(&["-c", dir, "-e", "state()"])).seconds,
        ];
        if round > 0 {
            let into = [&mut peer, &mut least, &mut one, &mut state];
            into.into_iter().zip(took).for_each(|(samples, seconds)| samples.push(seconds));
        }
    }
    let row = |what: &str, samples: &Samples| Row::new("shell", what, Unit::Seconds, samples.clone());
    let beside = |row: Row| row.beside("psql -c 'select 1'", peer.clone(), Ratio::OursOverPeer);
    let minus: Samples = state.0.iter().zip(&peer.0).map(|(ours, psql)| ours - psql).collect();
    bench.add(row("segsh --version", &least));
    bench.add(beside(row("segsh -e 1 / psql", &one)));
    bench.add(beside(row("segsh -e 'state()' / psql", &state)).goal(Goal::RatioAtMost(1.0)));
    bench.add(row("segsh -e 'state()' minus psql", &minus));
}

/// The program copied as an installer copies it, as psql's was. What a linker has just written lies in the page cache in
/// small pieces, and to map each of them takes a fifth of a short command.
fn installed(dir: &Path) -> std::io::Result<PathBuf> {
    let program = dir.join("segsh");
    std::fs::copy(env!("CARGO_BIN_EXE_segsh"), &program)?;
    Ok(program)
}

/// Debian's client on the same coordinator, without a settings file of anybody's.
fn psql_command(psql: &Path, cluster: &Cluster) -> Command {
    let mut command = Command::new(psql);
    command.args(["--no-psqlrc", "--host", cluster.socket_dir(), "--port"]).arg(cluster.port().to_string());
    command.args(["--username", "bench", "--dbname", "postgres", "--command", "select 1"]);
    command
}

/// What `state()` shows of a large cluster, and what `--json` writes of it.
fn screens(bench: &mut Bench, healthy: &State, broken: &State) {
    let rounds = if bench.quick { 20 } else { 100 };
    let screens = Screens::new(Style { color: true, ..Style::default() }, "bench");
    let measured = |work: &dyn Fn() -> usize| (0..rounds).map(|_| timed(|| _ = black_box(work()))).collect();
    let n = 2 * CONTENTS;
    let row = |what: &str, samples: Samples| {
        let row = Row::new("shell", format!("state() of {n} segments, {what}"), Unit::Seconds, samples);
        row.at("segments", n as f64)
    };
    let goal = Goal::MedianAtMost(FRAME_S);
    bench.add(row("well", measured(&|| screens.state(healthy).len())).goal(goal));
    bench.add(row("50 down", measured(&|| screens.state(broken).len())).goal(goal));
    bench.add(row("JSON", measured(&|| state_json(broken).to_string().len())));
}

/// What the editor asks at every key, and what Tab asks: of each key the median of some times.
fn keys(bench: &mut Bench, state: &State) {
    let known = Known { variables: &[], state: Some(state) };
    let style = Style { color: true, ..Style::default() };
    let typed = |text: &str| {
        black_box(hint(text, &known, 80));
        black_box(colored(text, text.len(), &style, &|_| false));
    };
    let tab = |text: &str| drop(black_box(complete(text, "", &known)));
    let row = |what: &str, samples: Samples| {
        Row::new("shell", format!("{what}, max"), Unit::Seconds, samples).goal(Goal::MaxAtMost(FRAME_S))
    };
    bench.add(row("a key: hint and colours", each_key(&typed)));
    bench.add(row("a key: completion by Tab", each_key(&tab)));
}

fn each_key(work: &dyn Fn(&str)) -> Samples {
    let ends = |line: &'static str| (1..=line.len()).filter(|end| line.is_char_boundary(*end)).map(|end| &line[..end]);
    let median = |text: &str| (0..REPEATS).map(|_| timed(|| work(text))).collect::<Samples>().median();
    LINES.iter().copied().flat_map(ends).map(median).collect()
}

/// Pairs on two hosts, the mirrors of the first so many down.
fn state_of(contents: i64, down: i64) -> State {
    let hosts = ["sdw1", "sdw2"];
    let host = |name: &str| json!({ "host": name, "address": "127.0.0.1", "alive": true, "pid": 7, "cause": "" });
    let coordinator = row(1, -1, Role::Primary, Mode::Synchronized, true, "mdw");
    let member = |content: i64, role: Role| {
        let is_down = content < down;
        let is_mirror = role == Role::Mirror;
        let mode = if is_down { Mode::ChangeTracking } else { Mode::Synchronized };
        let dbid = 2 + content + if is_mirror { contents } else { 0 };
        let alive = !(is_down && is_mirror);
        let place = hosts[usize::from((content % 2 == 1) != is_mirror)];
        json!({
            "row": row(dbid, content, role, mode, alive, place),
            "alive": { "alive": alive, "pid": 4711, "cause": "process gone", "age_ms": 300 },
            "free_bytes": 1_i64 << 40, "data_bytes": 1 << 29, "down_since_ms": (!alive).then_some(1_700_000_000_000_i64),
        })
    };
    let detail = |content: i64| {
        let health = if content < down { PairHealth::ChangeTracking } else { PairHealth::Synchronized };
        json!({
            "content": content, "epoch": 1, "health": health, "to_copy_blocks": (content < down).then_some(307),
            "incremental_impossible": null, "source_damaged": null, "progress": null, "operation": null,
            "single_copy_since_ms": (content < down).then_some(1_700_000_000_000_i64),
            "last_event": "dbid 3 was lost", "quarantine": null,
        })
    };
    let segments = (0..contents).flat_map(|c| [member(c, Role::Primary), member(c, Role::Mirror)]);
    let state = json!({
        "cluster": "bench", "cluster_id": "0123456789abcdef", "drill": false,
        "coordinator": { "host": "mdw", "port": 5432, "socket_dir": "/tmp", "pid": 7 },
        "hosts": hosts.map(host), "coordinator_row": coordinator, "segments": segments.collect::<Vec<_>>(),
        "contents": (0..contents).map(detail).collect::<Vec<_>>(),
        "age_ms": 300, "time_ms": 1_700_000_100_000_i64, "fts_paused_until_ms": null,
    });
    serde_json::from_value(state).expect("a state as a coordinator writes it")
}

fn row(dbid: i64, content: i64, role: Role, mode: Mode, up: bool, host: &str) -> Value {
    json!({
        "dbid": dbid, "content": content, "role": role, "preferred_role": role, "mode": mode,
        "status": if up { Status::Up } else { Status::Down }, "port": 6000 + dbid, "hostname": host, "address": host,
        "replication_port": (content >= 0).then_some(7000 + dbid), "datadir": format!("/srv/{host}/c{content}-{dbid}"),
    })
}

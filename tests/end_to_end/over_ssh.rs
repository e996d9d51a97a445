//! A host that is reached over SSH, in a cluster that runs.

use crate::support::command::Place;
use crate::support::sshd::{Sshd, whoami};
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::terminal::Terminal;
use crate::support::wait::secs;
use crate::support::{Cluster, wait_for};
use std::path::Path;

/// A host in a cluster file, with its directories beneath `root`.
fn host(name: &str, root: &Path, sshd: &Sshd, spare: bool) -> String {
    format!(
        "[[host]]\nname = \"{name}\"\nspare = {spare}\naddress = \"{}\"\nroots = [\"{root}/data\"]\n\
         ssh = {{ dir = \"{root}/segsh\", user = \"{}\", port = {}, keys = [{:?}], known_hosts = {:?} }}\n",
        sshd.address,
        whoami(),
        sshd.port,
        sshd.user_key(),
        sshd.known_hosts(),
        root = root.display(),
    )
}

#[test]
fn a_cluster_of_hosts_over_ssh_is_made_by_a_file_survives_and_replaces_one_of_them_and_leaves_nothing() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    let [a, b] = (std::process::id() as u16).to_be_bytes();
    let names = [("one", 71), ("two", 72), ("three", 73)];
    let sshds =
        names.map(|(name, last)| Sshd::start(&at(&format!("sshd-{name}")), &format!("127.{}.{b}.{last}", a % 250 + 2)));
    let hosts: Vec<String> =
        names.iter().zip(&sshds).map(|((name, _), sshd)| host(name, &at(name), sshd, *name == "three")).collect();
    let file = place.file("cluster.toml", &format!("name = \"far\"\ncontents = 1\n{}", hosts.concat()));
    std::fs::create_dir_all(at("two/segsh/photos")).expect("somebody else's");
    let dir = at("c").display().to_string();
    let refused = place.segsh(&["init", &dir, "--file", &file.display().to_string()]);
    refused.exits(1).says("photos").says("new or empty");
    assert!(!at("c").exists() && !at("one/segsh").exists(), "what was begun is taken back");
    std::fs::remove_dir(at("two/segsh/photos")).expect("it was left alone");

    let cluster = Cluster::from_file(place, &file);
    let pair = cluster.status().pair(0);
    assert!(pair.primary.datadir.starts_with(&at_of(&cluster, "one/data")), "{pair:?}");
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    cluster.segsh(&["--yes", "fault", "stop-host", "one"]).ok();
    cluster.wait_for_pair(0, TRACKING, secs(30));
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 1, "the other host serves");
    cluster.segsh(&["--yes", "fault", "start-host", "one"]).ok();
    cluster.eval_yes("recover()").ok();
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));

    cluster.segsh(&["--yes", "fault", "stop-host", "one"]).ok();
    cluster.wait_for_pair(0, TRACKING, secs(30));
    let replace = ["run", "replace_host", "--set", "host=one", "--set", "to=three", "--yes=full_recover"];
    cluster.segsh(&replace).ok();
    let mirror = cluster.status().pair(0).mirror;
    assert!(mirror.host == "three" && mirror.datadir.starts_with(&at_of(&cluster, "three/data")), "{mirror:?}");
    cluster.segsh(&["--yes", "fault", "start-host", "one"]).ok();
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 1);
    let mut destroy = cluster.place().command();
    destroy.arg("destroy").arg(cluster.dir());
    let mut terminal = Terminal::spawn(destroy);
    terminal.expect("to go on: ");
    terminal.type_line("far");
    terminal.expect_end();
    for gone in ["one/segsh", "two/segsh", "three/segsh", "one/data/c0-2", "two/data/c0-3", "three/data/c0-2", "c"] {
        assert!(!Path::new(&at_of(&cluster, gone)).exists(), "{gone}");
    }
}

fn at_of(cluster: &Cluster, name: &str) -> String {
    cluster.place().path().join(name).display().to_string()
}

#[test]
fn a_host_over_ssh_joins_a_running_cluster_and_its_absence_is_seen() {
    let cluster = Cluster::new(1);
    let root = cluster.place().path();
    let prefix = cluster.status().hosts[0].address.rsplit_once('.').expect("an IPv4 address").0.to_owned();
    let address = format!("{prefix}.77");
    let mut sshd = Sshd::start(&root.join("sshd"), &address);
    let (port, key) = (sshd.port.to_string(), sshd.user_key().display().to_string());
    let (dir, known) = (root.join("sdw9").display().to_string(), sshd.known_hosts().display().to_string());
    let add = |known: &str| {
        let user = whoami();
        let about = ["add-host", "sdw9", "--ssh", "--address", &address, "--dir", &dir, "--user", &user];
        cluster.segsh(&[&about[..], &["--port", &port, "--key", &key, "--known-hosts", known]].concat())
    };
    let none = root.join("none").display().to_string();
    add(&none).exits(1).says("host key").says("SHA256:");
    add(&known).ok();
    add(&known).ok();
    let state = cluster.status();
    assert!(state.hosts.len() == 3 && state.hosts.iter().all(|host| host.alive), "{state:?}");
    assert_eq!(cluster.script(r#"print(ping("sdw9").ok)"#).ok().text(), "true");

    sshd.stop();
    assert_eq!(cluster.script(r#"print(ping("sdw9").cause)"#).ok().text(), "refused");
    wait_for("the coordinator to miss the host", secs(20), || !cluster.status().hosts[2].alive);
    cluster.lifecycle("stop", &[]).exits(5).says("sdw9");
    cluster.lifecycle("start", &[]).exits(5).says("sdw9");
    assert!(cluster.status().is_synchronized(), "what answers is started");
    sshd.start_again(false);
    wait_for("the host to be seen again", secs(20), || cluster.status().hosts.iter().all(|host| host.alive));
    cluster.lifecycle("start", &[]).ok();
}

//! A host that is reached over SSH, in a cluster that runs.

use crate::support::wait::secs;
use crate::support::{Cluster, sshd::Sshd, wait_for};

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
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
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

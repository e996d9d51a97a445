//! The files of a cluster's directory, and saved plans.

use crate::harness::{Mutation, mutate};
use crate::samples;
use segsh::cluster::saved;
use segsh::cluster_dir::{self, ClusterConfig, CoordinatorEntry, HostEntry};
use segsh::gateway::PasswordFile;
use segsh::hosts::{AGENT_FILE, AgentConfig, DirLock, LOCK_FILE, SEGMENT_FILE, SegmentConfig, files, holder};
use segsh::net::ClusterKey;
use std::fmt::{Debug, Display};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Each iteration writes a file.
const FILES: usize = 800;

/// Mutations of a file's text, read by its own loader: an error names the file.
fn damage<T: Debug, E: Display>(name: &str, sample: &[u8], iterations: usize, load: impl Fn(&Path) -> Result<T, E>) {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().canonicalize().expect("it is there");
    let path = dir.join(name);
    let samples = [sample.to_vec()];
    let try_one = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("room for a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let mut loaded = None;
        let taken = allocation_counter::measure(|| loaded = Some(load(&dir))).bytes_max;
        assert!(taken <= (64 << 10) + 64 * bytes.len() as u64, "{} bytes took {taken}", bytes.len());
        loaded.expect("it was called")
    };
    // What a password file lacks at its end can't be told: a password may be any text.
    let cuts = if name == "pgpass" { vec![0, 20] } else { vec![0, 1, sample.len() / 2, sample.len() - 3] };
    for cut in cuts {
        let said = try_one(&sample[..cut]).err().map(|e| e.to_string());
        assert!(said.as_ref().is_some_and(|s| s.contains(name)), "{name} cut at {cut}: {said:?}");
    }
    mutate(iterations, |mutation: &Mutation| {
        if let Err(error) = try_one(&mutation.of(&samples, |_| ())) {
            let said = error.to_string();
            assert!(said.contains(&dir.display().to_string()), "the error does not say where: {said}");
        }
    });
}

fn cluster_config(dir: &Path) -> ClusterConfig {
    let host = |name: &str| HostEntry {
        name: name.into(),
        address: "127.1.2.11".into(),
        agent_port: 5001,
        dir: dir.join("hosts").join(name),
        roots: vec!["/fast".into()],
        ssh: (name == "sdw2").then(|| segsh::hosts::SshPlace {
            user: "gpadmin".into(),
            port: 22,
            keys: vec!["/srv/id_ed25519".into()],
            known_hosts: "/srv/known_hosts".into(),
        }),
    };
    ClusterConfig {
        name: "c".into(),
        id: "0f3c".into(),
        dir: dir.into(),
        drill: true,
        demo: false,
        coordinator: CoordinatorEntry {
            host: "cdw".into(),
            address: "127.1.2.1".into(),
            port: 5432,
            control_port: 5433,
        },
        socket_dir: dir.join("run"),
        hosts: vec![host("sdw1"), host("sdw2")],
        segments: samples::rows(),
        settings: [("gp_fts_probe_interval".to_owned(), "2s".to_owned())].into(),
    }
}

/// The bytes that a writer of ours makes.
fn written(name: &str, write: impl FnOnce(&Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path());
    fs::read(dir.path().join(name)).expect("it was written")
}

#[test]
fn a_damaged_cluster_json_is_named() {
    let name = "cluster.json";
    let sample = written(name, |dir| {
        files::write_json(&dir.join(name), 1, &cluster_config(dir)).expect("room");
    });
    damage(name, &sample, FILES, |dir| match cluster_dir::open(dir) {
        // Read, and made elsewhere: the sample's own directory is gone.
        Err(cluster_dir::ClusterDirError::Moved { .. }) => Ok(()),
        other => other.map(drop),
    });
}

#[test]
fn a_damaged_segment_json_is_named() {
    let sample = written(SEGMENT_FILE, |dir| {
        SegmentConfig { datadir: dir.into(), ..samples::segment_config() }.store().expect("room");
    });
    damage(SEGMENT_FILE, &sample, FILES, SegmentConfig::load);
}

#[test]
fn a_damaged_agent_json_is_named() {
    let config = AgentConfig {
        cluster_id: "0f3c".into(),
        cluster: "c".into(),
        host: "sdw1".into(),
        address: "127.1.2.11".into(),
        port: 5001,
        key_file: "/srv/key".into(),
        log_dir: "/srv/log".into(),
        program: None,
        roots: vec!["/fast".into()],
    };
    let sample = written(AGENT_FILE, |dir| config.store(dir).expect("room"));
    damage(AGENT_FILE, &sample, FILES, AgentConfig::load);
}

#[test]
fn a_damaged_key_is_named() {
    let sample = written("key", |dir| {
        ClusterKey::create(&dir.join("key")).expect("room");
    });
    damage("key", &sample, FILES, |dir| ClusterKey::load(&dir.join("key")));
}

#[test]
fn a_damaged_password_file_is_named() {
    let sample = b"# ours\n127.1.2.1:5432:*:segsh:00112233445566778899aabbccddeeff\n";
    // Each line that can be read is salted, four thousand rounds of it.
    damage("pgpass", sample, 100, |dir| PasswordFile::load(&dir.join("pgpass")));
    let refused = |text: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pgpass");
        fs::write(&path, text).expect("room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        PasswordFile::load(&path).expect_err("it has no password").to_string()
    };
    assert!(refused("a:b:c\n").contains("line 1"));
    assert!(refused("").contains("no password"));
}

#[test]
fn a_locks_text_names_a_living_process_or_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let lock = DirLock::take(dir.path()).expect("nobody holds it");
    let path = dir.path().join(LOCK_FILE);
    let sample = fs::read(&path).expect("it was signed");
    mutate(FILES, |mutation| {
        fs::write(&path, mutation.of(std::slice::from_ref(&sample), |_| ())).expect("room");
        if let Some(process) = holder(dir.path()) {
            assert!(process.pid() > 1, "a lock is never a process group's, nor init's");
        }
    });
    drop(lock);
}

#[test]
fn a_saved_plan_comes_back_or_says_why_not() {
    let text = saved::encode(&[samples::a_plan()]).expect("it has a JSON form");
    assert_eq!(saved::decode(&text).ok(), Some(vec![samples::a_plan()]));
    let other = text.replacen("\"schema\": 2", "\"schema\": 9", 1);
    let said = saved::decode(&other).expect_err("another schema").to_string();
    assert!(said.contains("schema 9") && said.contains("schema 2"), "{said}");
    mutate(FILES * 5, |mutation| {
        let bytes = mutation.of(&[text.clone().into_bytes()], |_| ());
        let Ok(changed) = String::from_utf8(bytes) else { return };
        match saved::decode(&changed) {
            Ok(plans) => {
                let again = saved::encode(&plans).expect("it has a JSON form");
                assert_eq!(saved::decode(&again).ok(), Some(plans));
            }
            Err(error) => assert!(error.to_string().contains("plan")),
        }
    });
}

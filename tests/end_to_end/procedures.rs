//! The documented procedures, each on a cluster in the condition it is for, and run once more after.

use crate::support::status::TRACKING;
use crate::support::wait::secs;
use crate::support::{Cluster, processes};

#[test]
fn recover_with_mirroring_brings_back_every_segment_that_is_down() {
    let cluster = Cluster::new(2);
    processes::kill(cluster.status().pair(1).mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    cluster.fail_over(0);
    cluster.segsh(&["run", "recover_with_mirroring"]).exits(4);
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
    assert!(cluster.status().is_synchronized());
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
}

#[test]
fn return_to_preferred_roles_puts_every_role_back() {
    let cluster = Cluster::new(2);
    cluster.fail_over(0);
    cluster.eval_yes("recover()").ok();
    cluster.segsh(&["run", "return_to_preferred_roles", "--yes"]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized() && status.is_balanced());
    cluster.segsh(&["run", "return_to_preferred_roles", "--yes"]).ok();
}

#[test]
fn a_dry_run_of_a_procedure_changes_nothing() {
    let cluster = Cluster::new(1);
    let before = cluster.fail_over(0);
    cluster.segsh(&["run", "recover_with_mirroring", "--dry-run"]).ok();
    assert_eq!(cluster.status().pair(0).letters(), before.pair(0).letters());
}

#[test]
fn a_procedure_is_called_from_a_script_and_imported_as_a_module() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    let code = r#"import "std/recover_with_mirroring" as p; p::run(#{}); print(state().down.len());"#;
    let file = cluster.place().file("heal.rhai", code);
    let dir = cluster.dir().to_str().expect("a plain name");
    let ran = cluster.place().segsh(&["--yes", "-c", dir, file.to_str().expect("a plain name")]);
    assert_eq!(ran.ok().text(), "0");
    let names = cluster.script("print(procedures())").ok();
    for name in ["recover_with_mirroring", "return_to_preferred_roles", "recover_double_fault"] {
        assert!(names.stdout.contains(name), "{}", names.stdout);
    }
}

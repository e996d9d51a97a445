//! Imports: where from, and what is refused.

use crate::fake::{Bench, healthy};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_module_comes_from_the_scripts_folder_first_and_then_from_the_site() {
    let scripts = tempfile::tempdir().expect("dir");
    let site = tempfile::tempdir().expect("dir");
    let write = |path: std::path::PathBuf, text: &str| {
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
    };
    write(scripts.path().join("a.rhai"), "fn from() { \"script\" }");
    write(site.path().join("a.rhai"), "fn from() { \"site\" }");
    write(site.path().join("b.rhai"), "fn from() { \"site\" }");
    let text = "import \"a\" as a; import \"b\" as b; a::from() + \" \" + b::from() + \" \" + args()[0]";
    write(scripts.path().join("main.rhai"), text);
    let mut bench = Bench::with(healthy(), Some(site.path().to_path_buf()), false);
    let value = bench.session.run_file(&scripts.path().join("main.rhai"), &["x".into()]);
    assert_eq!(value.expect("run").value.to_string(), "script site x");
}

#[test]
fn a_module_outside_writable_by_others_or_with_statements_is_refused() {
    let site = tempfile::tempdir().expect("dir");
    let write = |name: &str, text: &str, mode| {
        let path = site.path().join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    };
    write("open.rhai", "fn f() { 1 }", 0o666);
    write("acts.rhai", "restart(); fn f() { 1 }", 0o644);
    let mut bench = Bench::with(healthy(), Some(site.path().to_path_buf()), false);
    for (path, said) in [
        ("../site/open", "relative path"),
        ("/etc/passwd", "relative path"),
        ("open", "written by others"),
        ("acts", "functions only"),
        ("absent", "no module `absent`"),
        ("std/absent", "no module `std/absent`"),
    ] {
        let error = bench.error(&format!("import \"{path}\" as m; m::f()"));
        assert_eq!(error.code, "module", "{path}");
        assert!(error.message.contains(said), "{path}: {}", error.message);
        // A name that is only known at run time meets the same rules.
        let error = bench.error(&format!("let n = \"{path}\"; import n as m; m::f()"));
        assert_eq!(error.code, "module", "{path}");
    }
    assert!(bench.fake.calls().is_empty());
}

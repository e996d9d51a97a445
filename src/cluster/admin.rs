//! The functions of database `postgres` that change the cluster. They stand here once: for the coordinator, which serves
//! them, and for scripts, which make the same changes by calls that plan, ask, heed the site's hooks and name who it was.

/// A function that changes the cluster, by its name in SQL, and the call of the script API that does the same.
pub type AdminFunction = (&'static str, &'static str);

/// Those that plan, begin and follow an operation; a call's name is its verb.
pub const ADMIN_VERBS: &[AdminFunction] = &[
    ("segsh_recover", "recover"),
    ("segsh_full_recover", "full_recover"),
    ("segsh_rebalance", "rebalance"),
    ("segsh_restart", "restart"),
    ("segsh_verify", "verify"),
];
/// Keeps FTS from deciding.
pub const ADMIN_FTS_PAUSE: AdminFunction = ("segsh_fts_pause", "fts_pause");
/// Lets FTS decide again.
pub const ADMIN_FTS_RESUME: AdminFunction = ("segsh_fts_resume", "fts_resume");

/// All of them.
pub fn admin_functions() -> impl Iterator<Item = &'static AdminFunction> {
    ADMIN_VERBS.iter().chain([&ADMIN_FTS_PAUSE, &ADMIN_FTS_RESUME])
}

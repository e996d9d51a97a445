//! Every function of the API, once: help prints it, the engine is given its parameters and comments
//! from it, `check` knows names and arities by it, and the command line is generated from it.

use super::options::{Kind, OptionDoc};

/// One function, with all its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// `fault` in `fault::kill`; empty for a plain function.
    pub namespace: &'static str,
    /// The record it is a method of; empty for a function. The record is then the first parameter.
    pub method_of: &'static str,
    pub name: &'static str,
    /// The parameters of each form, as `name: type`.
    pub forms: &'static [&'static [&'static str]],
    pub returns: &'static str,
    pub doc: &'static str,
    pub example: &'static str,
    pub options: &'static [OptionDoc],
    /// It changes the cluster.
    pub changes: bool,
}

impl Entry {
    /// The name as it is typed: `fault::kill`, `plan.apply`, `recover`.
    pub fn full_name(&self) -> String {
        match (self.namespace, self.method_of) {
            ("", "") => self.name.to_string(),
            ("", record) => format!("{}.{}", record.to_lowercase(), self.name),
            (namespace, _) => format!("{namespace}::{}", self.name),
        }
    }
}

/// Every function of the API, by subject.
pub fn catalog() -> &'static [Entry] {
    ENTRIES
}

/// The entry of a name, with its namespace or record where it has one: `recover`, `fault::kill`,
/// `plan.apply`.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|e| e.full_name() == name).or_else(|| {
        // A bare method name is how people ask: help("apply").
        ENTRIES.iter().find(|e| e.name == name)
    })
}

/// The options of a function; none when it has no such table.
pub fn options_of(name: &str) -> &'static [OptionDoc] {
    find(name).map_or(&[], |e| e.options)
}

const fn option(name: &'static str, kind: Kind, doc: &'static str) -> OptionDoc {
    OptionDoc { name, kind, doc }
}

const CONTENTS: OptionDoc = option("contents", Kind::Contents, "only these contents");
const DBIDS: OptionDoc = option("dbids", Kind::Dbids, "only these segments");
const HOSTS: OptionDoc = option("hosts", Kind::Hosts, "only segments on these hosts");
const WAIT: OptionDoc = option("wait", Kind::Flag, "false: return `started` as soon as it is durable");
const RAISE: OptionDoc = option("raise", Kind::Flag, "false: return every outcome, throw none");
const TIMEOUT: OptionDoc = option("timeout", Kind::Duration, "give up waiting after this time");
const STALL: OptionDoc = option("stall", Kind::Duration, "give up waiting when nothing moved for this time");
const RATE: OptionDoc = option("rate", Kind::Rate, "copy no faster than this");
const COMPARE_RATE: OptionDoc = option("rate", Kind::Rate, "read no faster than this");
const JOBS: OptionDoc = option("jobs", Kind::Count, "work on so many contents at a time");
const IN_PLACE: OptionDoc = option("in_place", Kind::Flag, "overwrite the old copy, where there is no room for two");
const MODE: OptionDoc =
    option("mode", Kind::Word(&["smart", "fast", "immediate"]), "how sessions are treated; fast when not given");
const AFTER: OptionDoc = option("after", Kind::Plan, "plan on the rows this plan predicts");

const OPTIONS: &[&str] = &["options: map"];

macro_rules! entry {
    ($name:literal, $forms:expr, $returns:literal, $doc:literal, $example:literal
     $(, namespace: $namespace:literal)? $(, method_of: $record:literal)?
     $(, options: $options:expr)? $(, changes: $changes:literal)?) => {
        Entry {
            namespace: entry!(@or "" $(, $namespace)?),
            method_of: entry!(@or "" $(, $record)?),
            name: $name,
            forms: $forms,
            returns: $returns,
            doc: $doc,
            example: $example,
            options: entry!(@or &[] $(, $options)?),
            changes: entry!(@or false $(, $changes)?),
        }
    };
    (@or $default:expr, $given:expr) => { $given };
    (@or $default:expr) => { $default };
}

const ENTRIES: &[Entry] = &[
    entry!("state", &[&[]], "State", "What the coordinator knows now.", "state().down"),
    entry!("probe", &[&[]], "State", "FTS looks now; returns the state it saw.", "probe()"),
    entry!(
        "recoveries",
        &[&[]],
        "Array",
        "Every recovery under way, with its stage, its rate and what is left; those that wait included.",
        "recoveries()"
    ),
    entry!(
        "recover", &[&[], OPTIONS], "Outcome",
        "Recovers what is down, incrementally, in place; waits until synchronized.",
        "recover(#{ contents: [2] })",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, RATE, JOBS, RAISE], changes: true
    ),
    entry!(
        "full_recover", &[&[], OPTIONS], "Outcome",
        "Copies everything anew to segments that are down. One that is up is refused.",
        "full_recover(#{ dbids: 5 })",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, RATE, JOBS, IN_PLACE, RAISE],
        changes: true
    ),
    entry!(
        "rebalance", &[&[], OPTIONS], "Outcome",
        "Returns segments to their preferred roles: all or nothing. Running statements are cancelled.",
        "rebalance()",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, RAISE], changes: true
    ),
    entry!(
        "restart", &[&[], OPTIONS], "Outcome",
        "Stops and starts the cluster, or the segments of a selection.",
        "restart(#{ mode: \"fast\", contents: 2 })",
        options: &[CONTENTS, DBIDS, HOSTS, MODE, WAIT, TIMEOUT, STALL, RAISE], changes: true
    ),
    entry!(
        "verify", &[&[], OPTIONS], "Outcome",
        "Compares both copies of synchronized pairs, online, block by block. A difference throws `differs` (exit 9) \
         and takes the pair out of sync; recover() then mends a mirror whose primary is sound.",
        "verify(#{ contents: [2], rate: \"100 MiB/s\" })",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, COMPARE_RATE, JOBS, RAISE], changes: true
    ),
    entry!(
        "force_primary", &[OPTIONS], "Outcome",
        "The last resort: a segment serves with the copy it holds, whatever the rows and records say. Promotes a \
         mirror that lacks changes, accepts an unfit acting primary, lifts a quarantine. What may be lost is said.",
        "force_primary(#{ dbids: 4 })",
        options: &[DBIDS, WAIT, TIMEOUT, STALL, RAISE], changes: true
    ),
    entry!(
        "plan_recover", &[&[], OPTIONS], "Plan", "What recover() would do. Nothing is changed.",
        "let p = plan_recover(); print(p); p.apply()",
        options: &[CONTENTS, DBIDS, HOSTS, RATE, JOBS, AFTER]
    ),
    entry!(
        "plan_full_recover", &[&[], OPTIONS], "Plan", "What full_recover() would do.",
        "plan_full_recover(#{ dbids: 5 })",
        options: &[CONTENTS, DBIDS, HOSTS, RATE, JOBS, IN_PLACE, AFTER]
    ),
    entry!(
        "plan_rebalance", &[&[], OPTIONS], "Plan", "What rebalance() would do.",
        "plan_rebalance(#{ after: plan_recover() })",
        options: &[CONTENTS, DBIDS, HOSTS, AFTER]
    ),
    entry!(
        "plan_restart", &[&[], OPTIONS], "Plan", "What restart() would do.", "plan_restart()",
        options: &[CONTENTS, DBIDS, HOSTS, MODE, AFTER]
    ),
    entry!(
        "plan_verify", &[&[], OPTIONS], "Plan", "What verify() would do.", "plan_verify()",
        options: &[CONTENTS, DBIDS, HOSTS, COMPARE_RATE, JOBS, AFTER]
    ),
    entry!(
        "plan_force_primary", &[OPTIONS], "Plan", "What force_primary() would do, and what may be lost.",
        "plan_force_primary(#{ dbids: 4 })", options: &[DBIDS, AFTER]
    ),
    entry!(
        "plan_sequence",
        &[&["plans: array"]],
        "Plan",
        "Several plans as one, each made on the rows that the one before predicts.",
        "let a = plan_recover(); plan_sequence([a, plan_rebalance(#{ after: a })])"
    ),
    entry!("load_plan", &[&["file: string"]], "Plan", "Reads a plan that was saved.", "load_plan(\"f\").apply()"),
    entry!(
        "confirm",
        &[&["plan: Plan"]],
        "()",
        "Shows a plan and asks once; the calls that it holds then ask no more. Throws `declined`.",
        "confirm(plan_recover())"
    ),
    entry!(
        "apply", &[&["plan: Plan"], &["plan: Plan", "options: map"]], "Outcome",
        "Applies a plan; refused when what it depends on has changed.", "plan_recover().apply()",
        method_of: "Plan", options: &[WAIT, TIMEOUT, STALL, RAISE], changes: true
    ),
    entry!(
        "save", &[&["plan: Plan", "file: string"]], "()", "Writes a plan to a file.",
        "plan_recover().save(\"f\")", method_of: "Plan"
    ),
    entry!(
        "content", &[&["state: State", "content: int"]], "Content", "A content by its number.",
        "state().content(2).primary", method_of: "State"
    ),
    entry!(
        "segment", &[&["state: State", "dbid: int"]], "Segment", "A segment by its dbid.",
        "state().segment(5).status == \"down\"", method_of: "State"
    ),
    entry!(
        "host", &[&["state: State", "name: string"]], "Host", "A host by its name.",
        "state().host(\"sdw1\").alive", method_of: "State"
    ),
    entry!(
        "wait_until",
        &[
            &["condition: string"], &["condition: string", "options: map"],
            &["condition: closure"], &["condition: closure", "options: map"],
        ],
        "State",
        "Waits until \"synchronized\", \"operational\" or a closure over the state; returns that state. \
         Throws `timed_out`, `stalled` or `cannot_happen` (exit 6).",
        "wait_until(\"synchronized\", #{ timeout: \"10m\", stall: \"1m\" })",
        options: &[CONTENTS, TIMEOUT, STALL]
    ),
    entry!(
        "sql",
        &[
            &["text: string"],
            &["text: string", "parameters: array"],
            &["content: int", "text: string"],
            &["content: int", "text: string", "parameters: array"],
        ],
        "Rows",
        "One statement on the catalog, or on a content's acting primary. NULL is ().",
        "sql(2, \"select v from t where id = $1\", [7]).value()"
    ),
    entry!(
        "sql_all",
        &[&["text: string"], &["text: string", "parameters: array"]],
        "Rows",
        "Reads from every content; triggers a probe, and throws on a partial answer.",
        "sql_all(\"select count(*) from t\")"
    ),
    entry!("ping", &[&["host: string"]], "map", "Whether a host's agent answers, and why not.", "ping(\"sdw2\").ok"),
    entry!(
        "setting",
        &[&["name: string"], &["name: string", "value: string"]],
        "string",
        "Reads a setting of the cluster, or writes it durably.",
        "setting(\"gp_fts_probe_interval\", \"1s\")"
    ),
    entry!(
        "fts_pause", &[&[], &["time: string"]], "State",
        "FTS promotes no mirror for this time, 10m when not given; it ends by itself.",
        "fts_pause(\"10m\")", changes: true
    ),
    entry!(
        "fts_resume", &[&[]], "State", "Ends a pause of FTS; a failover that waited for it happens now.",
        "fts_resume()", changes: true
    ),
    entry!(
        "evidence",
        &[&["content: int"]],
        "map",
        "What FTS knows of a content now, saw in its last rounds, and decided from what.",
        "evidence(2).decisions"
    ),
    entry!("procedures", &[&[]], "array", "The procedures that can be run, each with its purpose.", "procedures()"),
    entry!(
        "procedure", &[&["name: string"], &["name: string", "options: map"]], "any",
        "Runs a procedure: its run(options).", "procedure(\"recover_double_fault\")", changes: true
    ),
    entry!(
        "kill", &[&["segment: Segment"]], "()", "SIGKILL of a segment's process; drill clusters only.",
        "fault::kill(state().content(0).primary)", namespace: "fault", changes: true
    ),
    entry!(
        "stop_host", &[&["host: string"]], "()",
        "SIGKILL of a host's agent and of every segment on it; drill clusters only.",
        "fault::stop_host(\"sdw1\")", namespace: "fault", changes: true
    ),
    entry!(
        "start_host", &[&["host: string"]], "()",
        "Starts a host's agent again; its segments stay down until recovered.",
        "fault::start_host(\"sdw1\")", namespace: "fault", changes: true
    ),
    entry!(
        "load", &[&["size: string"]], "Loaded", "Fills the contents of a drill cluster with data.",
        "demo::load(\"256 MiB\")", namespace: "demo", changes: true
    ),
    entry!(
        "traffic", &[&[]], "Traffic",
        "Starts writers on every content, through the gateway, until stop() or the session's end.",
        "let t = demo::traffic(); sleep(\"5s\"); print(t.stop())", namespace: "demo", changes: true
    ),
    entry!(
        "report", &[&["traffic: Traffic"]], "TrafficReport", "The counts so far; it goes on.",
        "demo::traffic().report()", method_of: "Traffic"
    ),
    entry!(
        "stop", &[&["traffic: Traffic"]], "TrafficReport",
        "Ends the writers, reads everything back, and says what was found and what was lost.",
        "demo::traffic().stop().lost", method_of: "Traffic"
    ),
    entry!("sleep", &[&["time: string"]], "()", "Waits; ends with Ctrl-C.", "sleep(\"5s\")"),
    entry!("args", &[&[]], "array", "The arguments after the script's name.", "args()[0]"),
    entry!("exit", &[&[], &["code: int"]], "()", "Ends the script with this exit code; it can't be caught.", "exit(3)"),
    entry!(
        "help",
        &[&[], &["subject: string"]],
        "()",
        "What there is: a function, a record, a refusal's code, a procedure.",
        "help(\"recover\")"
    ),
];

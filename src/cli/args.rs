//! The command line as clap sees it. What it means is decided in [`super::parse`].

use super::call::{Mode, Targets};
use super::completions::Shell;
use crate::shell::confirm::{Grant, YesPolicy};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// A scriptable administration shell for mirrored database clusters
#[derive(Debug, Parser)]
#[command(
    name = "segsh",
    version,
    disable_help_subcommand = false,
    subcommand_negates_reqs = true,
    after_help = super::AFTER_HELP,
    override_usage = "segsh [OPTIONS]                      a prompt\n       segsh [OPTIONS] FILE.rhai [ARGS]...  a script, `-` for stdin\n       segsh [OPTIONS] -e CODE\n       segsh [OPTIONS] COMMAND"
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that stand anywhere in segsh's own commands.
#[derive(Debug, Clone, Default, Args)]
pub struct Globals {
    /// The cluster: its directory or its name (else SEGSH_CLUSTER)
    #[arg(short, long, global = true, value_name = "DIR|NAME")]
    pub cluster: Option<String>,
    /// Evaluate CODE and show its value; may be repeated
    #[arg(short, long = "eval", value_name = "CODE", allow_hyphen_values = true)]
    pub eval: Vec<String>,
    /// One JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Ask nothing that is reversible, nor what the command itself names; also what LIST names
    /// (full_recover, restore, restart, adopt, force_primary)
    #[arg(long, global = true, value_name = "LIST", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = parse_yes)]
    pub yes: Option<YesPolicy>,
    /// No plan, no progress and no good news on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Events on stdout, one JSON document a line
    #[arg(long, global = true, conflicts_with = "json")]
    pub ndjson: bool,
    /// Change nothing; each step is planned on what the one before would leave (exit 3: nothing to do)
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// End the whole run after this time, as Ctrl-C would (exit 6), such as 10m
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<String>,
}

fn parse_yes(list: &str) -> Result<YesPolicy, String> {
    let mut policy = YesPolicy { yes: true, ..YesPolicy::default() };
    for word in list.split(',').filter(|w| !w.is_empty()) {
        let grant = Grant::parse(&word.replace('-', "_"))
            .ok_or_else(|| format!("`{word}` is none of {}", Grant::ALL.map(Grant::word).join(", ")))?;
        policy.grants.insert(grant);
    }
    Ok(policy)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A temporary cluster to break and bring back, gone with the shell
    Demo {
        #[command(flatten)]
        shape: Shape,
    },
    /// Make a cluster in DIR; it is left stopped
    Init {
        /// Where the cluster will live
        dir: PathBuf,
        #[command(flatten)]
        shape: Shape,
        /// Allow faults to be injected
        #[arg(long)]
        drill: bool,
        /// Hosts, addresses, directories and ports as this file has them (cluster.toml)
        #[arg(long, value_name = "FILE", conflicts_with_all = ["contents", "hosts", "spare_hosts", "no_mirrors"])]
        file: Option<PathBuf>,
    },
    /// Start what is not running, and recover what was synchronized
    Start {
        /// The cluster
        dir: Option<String>,
    },
    /// Stop the whole cluster
    Stop {
        /// The cluster
        dir: Option<String>,
        /// How sessions are treated
        #[arg(long, value_enum, default_value = "fast")]
        mode: Mode,
    },
    /// Show the cluster's state, from its last catalog when it is down
    Status {
        /// The cluster
        dir: Option<String>,
    },
    /// Stop the cluster and remove all of it
    Destroy {
        /// The cluster
        dir: Option<String>,
    },
    /// Make the catalog again that is lost, from the records of stopped segments
    Adopt {
        /// Data directories, or directories of hosts or of a cluster that hold them
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// Show the rows and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Override: this segment's copy is the last one, whatever the records say; may be repeated
        #[arg(long, value_name = "DBID", value_delimiter = ',')]
        serve: Vec<i64>,
    },
    /// Apply a plan that was saved, if what it depends on still stands
    Apply {
        /// What plan.save(FILE) wrote
        file: PathBuf,
    },
    /// Find what is wrong with scripts, without running them and without a cluster (exit 9)
    Check {
        /// Script files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run the test_ functions of a site library, each by itself, on a demo cluster or a drill cluster (exit 9)
    Test {
        /// The library's folder, or one module of it
        #[arg(value_name = "DIR")]
        path: PathBuf,
        /// Only tests whose name holds one of these
        #[arg(value_name = "NAME")]
        filters: Vec<String>,
    },
    /// Print the completion script of a shell
    Completions {
        /// Whose
        shell: Shell,
    },
    /// Print docs/script-reference.md
    #[command(hide = true)]
    Reference,
    /// Run a documented procedure, or one of the site's
    Run {
        /// Its name; procedures() lists them
        procedure: String,
        #[command(flatten)]
        targets: Targets,
        /// An option of the procedure; may be repeated, and of one name makes a list
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
        set: Vec<(String, String)>,
        /// Show the plan and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// A host's agent
    #[command(hide = true, disable_help_flag = true)]
    Host(Raw),
    /// One request to a host, from whoever is logged in there
    #[command(hide = true, disable_help_flag = true)]
    HostDo(Raw),
    /// A segment process
    #[command(hide = true, disable_help_flag = true)]
    Segment(Raw),
    /// The coordinator process
    #[command(hide = true, disable_help_flag = true)]
    Coordinator(Raw),
    /// What ends a demo when its shell is gone
    #[command(hide = true, disable_help_flag = true)]
    DemoKeeper(Raw),
    /// A script and its arguments, or a word that is no command.
    #[command(external_subcommand)]
    Script(Vec<OsString>),
}

/// How many of everything a new cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Shape {
    /// Contents, each a primary and its mirror
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub contents: u32,
    /// Hosts to spread them over
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=254))]
    pub hosts: u32,
    /// More hosts, without a segment: room to move to
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=254))]
    pub spare_hosts: u32,
    /// A setting to begin with; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// One copy of everything: a segment that is lost makes the cluster nonoperational
    #[arg(long)]
    pub no_mirrors: bool,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.trim().to_string())),
        _ => Err("a setting is NAME=VALUE".to_string()),
    }
}

/// Arguments that belong to one of segsh's own processes, unread.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Raw {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

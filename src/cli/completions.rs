//! Completion of segsh's own command line in bash and zsh, made from its definition.

use clap::{Arg, Command, ValueEnum};
use std::fmt::Write;

/// The shells that there is a completion for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// source <(segsh completions bash)
    Bash,
    /// segsh completions zsh > a file `_segsh` in a directory of $fpath
    Zsh,
}

/// The completion script of a shell for a command line.
pub fn script(shell: Shell, whole: &Command) -> String {
    match shell {
        Shell::Bash => bash(whole),
        Shell::Zsh => zsh(whole),
    }
}

/// A command as it is typed, `fault kill` for one inside another, with its flags and the words that follow.
struct Known {
    path: String,
    about: String,
    flags: Vec<String>,
    /// The values of flags that take one of a few words.
    values: Vec<(String, Vec<String>)>,
    inner: Vec<String>,
}

fn known(whole: &Command) -> Vec<Known> {
    let mut found = Vec::new();
    for command in visible(whole) {
        for name in std::iter::once(command.get_name()).chain(command.get_visible_aliases()) {
            found.push(one(name.to_string(), command, whole));
        }
        for inner in visible(command) {
            found.push(one(format!("{} {}", command.get_name(), inner.get_name()), inner, whole));
        }
    }
    found
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

fn one(path: String, command: &Command, whole: &Command) -> Known {
    let own: Vec<&Arg> = command.get_arguments().collect();
    let global = whole.get_arguments().filter(|a| a.is_global_set());
    let all: Vec<&Arg> = own.iter().copied().chain(global).collect();
    let mut flags: Vec<String> = all.iter().filter_map(|a| a.get_long()).map(|long| format!("--{long}")).collect();
    flags.push("--help".into());
    flags.sort();
    flags.dedup();
    let words = |arg: &Arg| -> Option<(String, Vec<String>)> {
        let values: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_string()).collect();
        let takes = arg.get_action().takes_values() && !values.is_empty();
        Some((arg.get_long().map_or_else(String::new, |l| format!("--{l}")), values)).filter(|_| takes)
    };
    let mut inner: Vec<String> = visible(command).map(|c| c.get_name().to_string()).collect();
    inner.sort();
    Known {
        path,
        about: command.get_about().map(ToString::to_string).unwrap_or_default(),
        flags,
        values: own.iter().filter_map(|a| words(a)).collect(),
        inner,
    }
}

/// Global flags that take the word behind them.
fn taking(whole: &Command) -> Vec<String> {
    let takes = |a: &&Arg| a.get_action().takes_values() && !a.is_positional() && a.get_id() != "yes";
    let names = |a: &Arg| [a.get_long().map(|l| format!("--{l}")), a.get_short().map(|s| format!("-{s}"))];
    whole.get_arguments().filter(takes).flat_map(names).flatten().collect()
}

fn first_words(whole: &Command) -> Vec<String> {
    let mut words: Vec<String> = known(whole).into_iter().map(|k| k.path).filter(|path| !path.contains(' ')).collect();
    words.sort();
    words
}

fn top_flags(whole: &Command) -> Vec<String> {
    let mut flags: Vec<String> = whole.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")).collect();
    flags.extend(["--help".to_string(), "--version".to_string()]);
    flags
}

fn bash(whole: &Command) -> String {
    let mut text = String::from(
        "# bash completion of segsh: source <(segsh completions bash)\n_segsh() {\n  \
         local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= i\n  \
         for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n",
    );
    let _ = writeln!(text, "      {}) ((i++)) ;;", taking(whole).join("|"));
    text.push_str("      -*) ;;\n      *) path=\"${path:+$path }${COMP_WORDS[i]}\" ;;\n    esac\n  done\n");
    text.push_str("  case $before in\n    -c|--cluster) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n  esac\n");
    text.push_str("  local words=\n  case $path in\n");
    let first: Vec<String> = first_words(whole).into_iter().chain(top_flags(whole)).collect();
    let _ = writeln!(text, "    '') words='{}' ;;", first.join(" "));
    // The longer path first: `fault kill` is no `fault` with a word behind it.
    let mut commands = known(whole);
    commands.sort_by_key(|k| std::cmp::Reverse(k.path.split(' ').count()));
    for command in commands {
        for (flag, values) in command.values.iter().filter(|(flag, _)| !flag.is_empty()) {
            let _ = writeln!(
                text,
                "    '{0}'*) [[ $before == {flag} ]] && words='{1}' ;;&",
                command.path,
                values.join(" ")
            );
        }
        let positional = command.values.iter().filter(|(flag, _)| flag.is_empty()).flat_map(|(_, values)| values);
        let words: Vec<String> = command.inner.iter().chain(positional).chain(&command.flags).cloned().collect();
        let _ = writeln!(text, "    '{0}'|'{0} '*) words=${{words:-{1}}} ;;", command.path, words.join(" "));
    }
    text.push_str(
        "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n  \
         [[ -z $path ]] && COMPREPLY+=($(compgen -f -X '!*.rhai' -- \"$cur\"))\n}\ncomplete -o default -F _segsh segsh\n",
    );
    text
}

fn zsh(whole: &Command) -> String {
    let quoted = |text: &str| text.replace('\'', "'\\''");
    let mut text = String::from(
        "#compdef segsh\n# zsh completion of segsh: segsh completions zsh > _segsh, in $fpath\n_segsh() {\n",
    );
    text.push_str("  local -a commands\n  commands=(\n");
    for command in known(whole).iter().filter(|k| !k.path.contains(' ')) {
        let _ = writeln!(text, "    '{}:{}'", command.path, quoted(&command.about.replace(':', "\\:")));
    }
    text.push_str("  )\n  local word_path= i\n  for ((i = 2; i < CURRENT; i++)); do\n    case $words[i] in\n");
    let _ = writeln!(text, "      {}) ((i++)) ;;", taking(whole).join("|"));
    text.push_str("      -*) ;;\n      *) word_path=\"${word_path:+$word_path }$words[i]\" ;;\n    esac\n  done\n");
    text.push_str(
        "  case $words[CURRENT-1] in\n    -c|--cluster) _files -/; return ;;\n  esac\n  case $word_path in\n",
    );
    let flags = top_flags(whole).join(" ");
    let _ = writeln!(text, "    '') _describe command commands; compadd -- {flags}; _files -g '*.rhai' ;;");
    let mut commands = known(whole);
    commands.sort_by_key(|k| std::cmp::Reverse(k.path.split(' ').count()));
    for command in commands {
        let _ = write!(text, "    '{0}'|'{0} '*) ", command.path);
        for (flag, values) in command.values.iter().filter(|(flag, _)| !flag.is_empty()) {
            let _ =
                write!(text, "[[ $words[CURRENT-1] == {flag} ]] && {{ compadd -- {}; return }}; ", values.join(" "));
        }
        let positional = command.values.iter().filter(|(flag, _)| flag.is_empty()).flat_map(|(_, values)| values);
        let words: Vec<String> = command.inner.iter().chain(positional).chain(&command.flags).cloned().collect();
        let _ = writeln!(text, "compadd -- {}; _files ;;", words.join(" "));
    }
    text.push_str("  esac\n}\n_segsh \"$@\"\n");
    text
}

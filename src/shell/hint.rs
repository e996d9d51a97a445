//! What stands dimmed behind the cursor: the call that is being typed, or a line typed before.
//!
//! A hint is written as a comment, so that without colour nobody takes it for what was typed.

use super::commands;
use super::complete::{Known, entry_of, open_string};
use super::render::layout::{columns, cut};
use crate::script::{self, Entry, OpenCall};

/// Columns that a prompt is thought to take; the editor does not say.
const PROMPT: usize = 30;
/// A hint that is cut to less says nothing.
const SHORTEST: usize = 24;

/// The signature, the options or the end that is missing; `None` where there is nothing to say.
pub fn hint(text: &str, known: &Known, width: usize) -> Option<String> {
    if let Some(unfinished) = text.strip_suffix('\n')
        && !unfinished.trim().is_empty()
    {
        return Some("  // it goes on here; an empty line ends it, Ctrl-C clears it".to_string());
    }
    if let Some(command) = text.trim_start().strip_prefix(':') {
        let about = commands::about(command.trim_end());
        return (!about.is_empty()).then(|| format!("  // {about}"));
    }
    let before = open_string(text).map_or(text, |(at, _)| &text[..at]);
    let call = script::open_call_in(before, &|name| known.of(name))?;
    let entry = entry_of(&call)?;
    let said = match &call.options {
        Some(options) => match &options.key {
            Some(key) => entry.options.iter().find(|o| o.name == key)?.doc.to_string(),
            None => {
                let free = entry.options.iter().filter(|o| !options.keys.iter().any(|k| k == o.name));
                format!("options: {}", free.map(|o| o.name).collect::<Vec<_>>().join(" "))
            }
        },
        None => signature(entry, &call, before),
    };
    let last = text.rsplit('\n').next().unwrap_or(text);
    let room = width.saturating_sub(columns(last) % width.max(1) + PROMPT);
    (room >= SHORTEST).then(|| cut(&format!("  // {said}"), room))
}

/// The shortest form that has the argument being typed, and that begins as the arguments do.
fn signature(entry: &Entry, call: &OpenCall, text: &str) -> String {
    let object = usize::from(!entry.method_of.is_empty());
    let begun = text.rfind(&format!("{}(", call.name)).map(|at| text[at + call.name.len() + 1..].trim_start());
    let is_number = begun.is_some_and(|arguments| arguments.starts_with(|c: char| c.is_ascii_digit()));
    let differs = |form: &&[&str]| form.get(object).is_some_and(|first| first.ends_with(": int") != is_number);
    let fits = |form: &&&[&str]| form.len() > call.argument + object;
    let best = entry.forms.iter().filter(fits).min_by_key(|form| (differs(form), form.len()));
    let form = best.or_else(|| entry.forms.last());
    let shown: Vec<&str> = form.map(|form| form.iter().skip(object).copied().collect()).unwrap_or_default();
    format!("{}({}) -> {}", entry.name, shown.join(", "), entry.returns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hinted(text: &str) -> Option<String> {
        hint(text, &Known::default(), 120)
    }

    #[test]
    fn a_call_shows_its_signature_behind_the_parenthesis() {
        assert_eq!(hinted("ping(").as_deref(), Some("  // ping(host: string) -> map"));
        assert_eq!(hinted("ping(\"sd").as_deref(), Some("  // ping(host: string) -> map"));
        assert_eq!(hinted("state().content(").as_deref(), Some("  // content(content: int) -> Content"));
        assert!(hinted("sql(2, ").is_some_and(|h| h.contains("content: int, text: string")));
        assert!(hinted("sql(\"select 1\", ").is_some_and(|h| h.contains("text: string, parameters: array")));
        assert_eq!(hinted("ping"), None);
        assert_eq!(hinted("ping(\"a\")"), None);
        assert_eq!(hinted("mine("), None);
    }

    #[test]
    fn options_are_named_until_they_are_given() {
        let options = hinted("recover(#{ contents: 2, ").unwrap_or_default();
        assert!(options.contains("options: dbids hosts to wait"), "{options}");
        assert_eq!(hinted("recover(#{ timeout: ").as_deref(), Some("  // give up waiting after this time"));
    }

    #[test]
    fn a_command_says_what_it_does() {
        assert_eq!(hinted(":dry").as_deref(), Some("  // calls are only rehearsed, or act again"));
        assert_eq!(hinted(":nonsense"), None);
    }

    #[test]
    fn an_entry_that_goes_on_says_how_it_ends() {
        assert!(hinted("print(state()\n").is_some_and(|h| h.contains("empty line ends it")));
        assert_eq!(hinted(""), None);
        assert_eq!(hinted("\n"), None);
    }

    #[test]
    fn a_hint_stays_within_the_screen_or_is_not_there() {
        let narrow = |text: &str| hint(text, &Known::default(), 70);
        assert!(narrow("recover(#{ ").is_some_and(|h| columns(&h) <= 70 - PROMPT));
        assert_eq!(narrow("print(state().content(2)); recover(#{ "), None);
    }
}

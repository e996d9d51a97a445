//! What the parameters of the API mean. A name means the same in every function, or has an entry with the function's name.

use super::catalog::Entry;

/// A parameter, `NAME` or `FUNCTION.NAME`, and what it takes.
const PARAMETERS: &[(&str, &str)] = &[
    ("args", "options as they are typed behind the utility's name"),
    ("call", "the name of a call, such as \"recover\""),
    ("before.call", "the name of a call, such as \"recover\"; \"*\" for every change"),
    ("after.call", "the name of a call, such as \"recover\"; \"*\" for every change"),
    ("change", "a closure over one segment"),
    ("code", "from 0 to 255; 0 when not given"),
    ("condition", "\"synchronized\", \"operational\", or a closure over the state"),
    ("assert.condition", "true or false"),
    ("content", "a content's number, as state() shows it"),
    ("dbid", "a segment's number, as state() shows it"),
    ("dir", "a directory"),
    ("backup.dir", "a directory of the coordinator's host, new or empty; absolute"),
    ("plan_backup.dir", "a directory of the coordinator's host, new or empty; absolute"),
    ("restore.dir", "the directory of a backup, on the coordinator's host; absolute"),
    ("plan_restore.dir", "the directory of a backup, on the coordinator's host; absolute"),
    ("backup_info.dir", "the directory of a backup, on the coordinator's host; absolute"),
    ("expected", "what it should be"),
    ("file", "a path; a relative one is beneath the working directory"),
    ("found", "what is compared"),
    ("hook", "a closure over the plan (before) or the outcome (after)"),
    ("host", "a host's name, as state() shows it"),
    ("id", "an operation's number, as operations() shows it"),
    ("add_host.name", "the new host's name"),
    ("known", "the names of the options that there are"),
    ("check_options.name", "the procedure's name, for the message"),
    ("check_options.options", "what the procedure was given"),
    ("message", "what is said when it does not hold"),
    ("name", "a name"),
    ("state.host.name", "a host's name, as state() shows it"),
    ("setting.name", "a setting's name, such as \"gp_fts_probe_interval\""),
    ("procedure.name", "a procedure's name, as procedures() lists it"),
    ("options", "a map, #{ … }"),
    ("other", "a plan, or a state"),
    ("parameters", "values for $1, $2 and so on"),
    ("plan", "a plan, as plan_recover() makes it"),
    ("plans", "plans, in the order in which they are applied"),
    ("row", "a row"),
    ("rows", "rows of a statement"),
    ("segment", "a segment of the state: state().segment(5)"),
    ("segments", "a list of segments"),
    ("size", "a size with its unit, such as \"256 MiB\""),
    ("fault::hold.stage", "\"preparation\", \"data_copy\", \"flat_files\" or \"claim\""),
    ("state", "a state, as state() returns it"),
    ("subject", "a name or a code"),
    ("why.subject", "\"content 2\", \"dbid 5\", a host's name, a call's name, or a number of a content"),
    ("test", "a closure over one segment, true or false"),
    ("text", "an SQL statement"),
    ("time", "a time with its unit, such as \"10m\""),
    ("traffic", "writers, as demo::traffic() starts them"),
    ("value", "a text, a number or a bool"),
    ("why", "the reason, for whoever meets it"),
];

/// Each parameter of a function but its options and the record that it is a method of, with what it takes; empty where
/// nothing is written down.
pub(super) fn of(entry: &Entry) -> Vec<(&'static str, &'static str)> {
    let method = usize::from(!entry.method_of.is_empty());
    let mut found: Vec<(&'static str, &'static str)> = Vec::new();
    for parameter in entry.forms.iter().flat_map(|form| form.iter().skip(method)) {
        let name = parameter.split(": ").next().unwrap_or(parameter);
        let is_table = *parameter == "options: map" && !entry.options.is_empty();
        if !is_table && !found.iter().any(|(known, _)| *known == name) {
            found.push((name, doc(entry, name)));
        }
    }
    found
}

fn doc(entry: &Entry, name: &str) -> &'static str {
    let own = format!("{}.{name}", entry.full_name());
    let of = |wanted: &str| PARAMETERS.iter().find(|(known, _)| *known == wanted).map(|(_, doc)| *doc);
    of(&own).or_else(|| of(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::catalog::catalog;

    #[test]
    fn every_parameter_of_the_api_is_explained() {
        let silent: Vec<String> = (catalog().iter())
            .flat_map(|e| of(e).into_iter().map(move |(name, doc)| (format!("{}.{name}", e.full_name()), doc)))
            .filter(|(_, doc)| doc.is_empty())
            .map(|(name, _)| name)
            .collect();
        assert!(silent.is_empty(), "without a line in PARAMETERS: {silent:?}");
    }
}

//! Where the language surprises, and what a script meets there: an error with a code, a warning of `segsh check`, or the
//! language's own behaviour, told beforehand. One list for `help("traps")` and the reference; a test holds each.

/// The trap in a few words, and what a script meets.
pub const TRAPS: &[(&str, &str)] = &[
    (
        "end_in_closure",
        "Ctrl-C, exit() and the end of a time limit also end a script inside a closure that a method calls, as in list.for_each(|x| ...). No catch keeps them.",
    ),
    ("steps_in_closure", "a hook's limit of steps counts those of its closures, too: one that works too long vetoes."),
    ("exit_in_closure", "exit(3) inside a closure ends the script with 3, and is no error."),
    (
        "function_scope",
        "a function sees its parameters and not the script's variables: error unknown_variable, which says how to pass it.",
    ),
    ("compile_time", "compiling and checking a script calls nothing."),
    (
        "statements_of_module",
        "a module holds functions only, so that nothing runs with its import or again with each call: error module.",
    ),
    (
        "missing_key",
        "a map has no such key: error property_not_found. A record has no such field: unknown_property, with the near miss.",
    ),
    (
        "unequal_types",
        "a role, mode, status or record that is compared with what it can never equal: error unknown_value. Two literals of different types: warning never_equal. A number and a text in variables are unequal, and nothing says so.",
    ),
    ("whole_numbers", "1 / 2 is 0: whole numbers divide to whole numbers; 1.0 / 2 is 0.5."),
    (
        "big_number",
        "an integer beyond 64 bits: warning big_number where it is written; one that a calculation gives: error arithmetic.",
    ),
    ("plain_quotes", "\"${x}\" is not replaced in plain quotes: warning plain_quotes; `${x}` in backticks is."),
    (
        "no_defaults",
        "there are no default or named parameters: options are one map, #{ contents: [2] }; one that the function does not have: error unknown_option.",
    ),
    (
        "lists_of_records",
        "lists of segments and rows can be looped over, indexed, filtered, compared and printed, as arrays can.",
    ),
    ("shadowing", "a function or an import's name that would take the place of the API's: error shadows_api."),
    (
        "caught_errors",
        "whatever is caught has code, exit, message and next: what the API throws, what the language does, and what a script does.",
    ),
    ("try_is_a_statement", "try has no value: set a variable in it."),
    ("panic", "a defect inside a function of the API is an error internal, and the session goes on."),
    ("data_race", "a value that is used while its own method runs: error data_race, which says to copy it."),
    (
        "shared_variable",
        "a closure that is kept sees a loop's variable as the loop leaves it: warning shared_variable.",
    ),
    (
        "several_lines",
        "an entry of the prompt goes on in the next line while a bracket, a string or a comment is open.",
    ),
    ("line_65535", "lines beyond 65535 are not counted: what fails there says so."),
    ("first_line", "#! in a script's first line is a comment."),
    ("exit_code", "a script that fails ends with its error's exit code, and never with 0."),
    ("waiting", "sleep(), wait_until() and every call that waits for the cluster end with Ctrl-C."),
    (
        "no_resume",
        "a script can't go on where it was interrupted: run it again. What is done already is not done twice.",
    ),
    (
        "switch",
        "a switch can't look into a role, mode, status or record: error switch_on_record; switch on its .letter, its .word or a field.",
    ),
];

//! What a bare name at the prompt is answered: what the call would do, and that nothing was done.

use super::layout::Para;
use super::refusal::Untouched;
use super::{Paint, Style, plan, refusal};
use crate::cluster::{Intent, Plan};

/// The plan in short, or its refusals, and how to go on. `verb` is the call's name.
pub fn render(verb: &str, made: &Plan, style: &Style) -> String {
    let call = format!("{verb}()");
    if made.refuses {
        let lead = format!("{call} would be refused now:");
        let lead = Para::new("", 1).words(&lead).render(style);
        return format!("{lead}{}", refusal::render(verb, &made.refusals, Untouched::All, style));
    }
    let is_restart = matches!(&made.intent, Intent::Restart { selection, .. } if selection.is_all());
    if made.is_empty() && made.refusals.is_empty() && made.joined.is_empty() && !is_restart {
        return Para::new("", 1).words(&format!("{call} would find nothing to do")).render(style);
    }
    let end = Para::new("", 1)
        .words(&format!("this is what {call} would do; nothing was done"))
        .unit(3, &format!("next: {call}"), Paint::Code)
        .render(style);
    format!("{}{end}", plan::question(made, style))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{plain, recover_plan};

    #[test]
    fn a_bare_name_shows_the_plan_and_that_nothing_was_done() {
        insta::assert_snapshot!(render("recover", &recover_plan(), &plain()));
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let mut plan = recover_plan();
        plan.steps.clear();
        plan.joined.clear();
        plan.refusals.clear();
        assert_eq!(render("recover", &plan, &plain()), "recover() would find nothing to do\n");
    }
}

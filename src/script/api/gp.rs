//! `gpstate()` and the other utilities of Greenplum, as functions: `gpstate("-m")`.

use super::binding::api;
use crate::gp::{Utility, split_words};
use crate::script::catalog::{self, Damage, Entry, RAISE, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::options::Options;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use crate::script::utility::{self, Ended};
use rhai::{Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// The forms that all utilities have.
const FORMS: &[&[&str]] = &[&[], &["args: string"], &["args: string", "options: map"]];

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "gprecoverseg", FORMS, "Utility",
        "Greenplum's gprecoverseg with the options it is known by: -a -F -i -o -p -r -B -q -v -l. Returns once the copies go on \
         in the background; anything but exit 0 throws.",
        "gprecoverseg(\"-a\")", options: &[RAISE], changes: true, damage: Damage::Reversible
    ),
    entry!(
        "gpstop", FORMS, "Utility",
        "Greenplum's gpstop with the options it is known by: -r -M -a -m -u -t. A smart stop, the default, is refused while \
         clients are connected.",
        "gpstop(\"-ar -M fast\")", options: &[RAISE], changes: true, damage: Damage::Reversible
    ),
    entry!(
        "gpstart", FORMS, "Utility",
        "Greenplum's gpstart with the options it is known by: -a -m -R -t -B -q -v -l. Starts what does not run; segments \
         that are marked down are skipped.",
        "gpstart(\"-a\")", options: &[RAISE], changes: true, damage: Damage::Reversible
    ),
    entry!(
        "gpstate", FORMS, "Utility",
        "Greenplum's gpstate with the options it is known by: -b -m -e -s -c -Q -f -i -p. Prints its lines; `exit` is 1 when \
         something needs a look. One that cannot be carried out throws.",
        "gpstate(\"-m\").exit", options: &[RAISE]
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    macro_rules! utility {
        ($($name:literal, $utility:expr;)*) => {$(
            api!(module, context, $name, 0, |c| call(c, $utility, "", &Dynamic::UNIT));
            api!(module, context, $name, 1, |c, args: ImmutableString| call(c, $utility, &args, &Dynamic::UNIT));
            api!(module, context, $name, 2, |c, args: ImmutableString, o: Dynamic| call(c, $utility, &args, &o));
        )*};
    }
    utility! {
        "gpstate", Utility::Gpstate;
        "gprecoverseg", Utility::Gprecoverseg;
        "gpstop", Utility::Gpstop;
        "gpstart", Utility::Gpstart;
    }
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<UtilityRecord>(module, context);
}

/// How a utility ended.
#[derive(Clone, PartialEq)]
pub struct UtilityRecord(pub Rc<Ended>);

fn call(context: &Context, utility: Utility, typed: &str, options: &Dynamic) -> Thrower {
    let name = utility.name();
    let options = Options::read(name, catalog::options_of(name), options)?;
    let words = split_words(typed).ok_or_else(|| {
        Thrown::script("bad_option", format!("{name}(): a quote is not closed in `{typed}`"))
            .next(format!("help(\"{name}\")"))
    })?;
    let ended = utility::run(context, utility, &words)?;
    if let Some(thrown) = thrown(&ended).filter(|_| options.flag("raise", true)) {
        return Err(thrown);
    }
    Ok(Dynamic::from(UtilityRecord(Rc::new(ended))))
}

/// What a script must not walk over: what was not carried out, and a change of which part is not done.
fn thrown(ended: &Ended) -> Option<Thrown> {
    let name = ended.utility.name();
    let (message, next) = match &ended.failure {
        Some((message, next)) => (message.clone(), next.clone()),
        None if ended.exit != 0 && ended.utility.changes() => {
            (format!("{name}: part of it is not done; its lines say what"), "gpstate(\"-e\")".into())
        }
        None => return None,
    };
    Some(Thrown::with_exit("utility_failed", ended.exit, message).next(next))
}

impl Record for UtilityRecord {
    const NAME: &'static str = "Utility";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            name: "string", "the utility" => |u| ImmutableString::from(u.0.utility.name());
            exit: "int", "its exit code" => |u| i64::from(u.0.exit);
            lines: "[string]", "its lines, without the time and what else changes" => |u| {
                u.0.lines.iter().map(|line| Dynamic::from(ImmutableString::from(line.as_str()))).collect::<rhai::Array>()
            };
            tables: "any", "its tables, each with name, columns and rows" => |u| json::to_dynamic(&u.0.document["tables"]);
        }
    }
    fn text(&self, _context: &Context) -> String {
        format!("{}: exit {}", self.0.utility.name(), self.0.exit)
    }
    fn json(&self) -> Value {
        self.0.document.clone()
    }
}

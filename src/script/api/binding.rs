//! How a function of the catalog becomes one that scripts can call.

use crate::script::catalog::{Entry, find};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, RhaiNativeFunc, Variant};

/// What a function that is bound returns.
pub(super) type Fallible<T = Dynamic> = Result<T, Box<EvalAltResult>>;

/// Registers one form of a function with what the catalog says of it.
pub(in crate::script) fn bind<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    form: usize,
    function: FUNC,
) where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, N, X, R, F> + 'static,
{
    let entry: Option<&Entry> = find(name);
    let plain = name.rsplit([':', '.']).next().unwrap_or(name);
    let mut registration = FuncRegistration::new(plain).with_volatility(true);
    if let Some(entry) = entry {
        let params = entry.forms.get(form).copied().unwrap_or_default();
        let info = params.iter().map(|p| (*p).to_string()).chain([entry.returns.to_string()]);
        registration =
            registration.with_params_info(info.collect::<Vec<_>>()).with_comments([format!("/// {}", entry.doc)]);
    }
    registration.set_into_module(module, function);
}

/// Registers what every record or value has and the catalog does not list: an operator, a conversion. In a module, for the
/// engine itself would describe each function's types in words, which no start of a shell has the time for.
pub(in crate::script) fn bind_plain<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    function: FUNC,
) where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, N, X, R, F> + 'static,
{
    FuncRegistration::new(name).set_into_module(module, function);
}

/// Registers how a property is read.
pub(in crate::script) fn bind_property<A: 'static, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    read: FUNC,
) where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, 1, X, R, F> + 'static,
{
    FuncRegistration::new_getter(name).set_into_module(module, read);
}

/// Registers what `[…]` behind a value finds.
pub(in crate::script) fn bind_index<A: 'static, const X: bool, R, const F: bool, FUNC>(module: &mut Module, find: FUNC)
where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, 2, X, R, F> + 'static,
{
    FuncRegistration::new_index_getter().set_into_module(module, find);
}

/// A binding: shares the context, guards against panics, and returns what the API throws.
macro_rules! api {
    ($module:expr, $context:expr, $name:literal, $form:literal,
     |$c:ident $(, $arg:ident: $type:ty)*| $body:expr) => {{
        let shared = ::std::rc::Rc::clone($context);
        $crate::script::api::binding::bind($module, $name, $form, move |native: ::rhai::NativeCallContext, $($arg: $type),*| -> $crate::script::api::binding::Fallible {
            let $c = &*shared;
            $c.called_from(&native);
            $crate::script::context::guard($name, || $body)
        });
    }};
}
pub(super) use api;

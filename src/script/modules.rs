//! `import`: the built-in modules, then the script's folder, the site's, and the machine's; nothing
//! outside of them, and no file that others can write.

use super::context::Context;
use rhai::{AST, Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared, Stmt};
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use thiserror::Error;

/// Group and other may not write a module: who can would run as the administrator.
const WRITABLE_BY_OTHERS: u32 = 0o022;

macro_rules! std_modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../stdlib/", $name, ".rhai")))),*]
    };
}

/// The documented procedures, by name: each has `plan(options)` and `run(options)`.
const PROCEDURES: &[(&str, &str)] = std_modules![
    "recover_with_mirroring",
    "return_to_preferred_roles",
    "recover_double_fault",
    "recover_without_mirroring",
    "recovery_process",
    "replace_host",
    "recreate_from_backup",
];

/// What the procedures share, and what a site's own scripts may import too.
const HELPERS: &[(&str, &str)] = std_modules!["steps"];

/// The text of a built-in module.
pub fn std_source(name: &str) -> Option<&'static str> {
    PROCEDURES.iter().chain(HELPERS).find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// Every procedure: its name, and the first line of its own documentation.
pub fn procedure_docs() -> Vec<(String, String)> {
    docs_of(PROCEDURES)
}

/// The same of everything that can be imported as `std/…`.
pub fn std_docs() -> Vec<(String, String)> {
    [docs_of(PROCEDURES), docs_of(HELPERS)].concat()
}

fn docs_of(modules: &[(&str, &str)]) -> Vec<(String, String)> {
    modules.iter().map(|(name, text)| ((*name).to_string(), first_line(text))).collect()
}

fn first_line(text: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix("//!"));
    line.unwrap_or_default().trim().to_string()
}

/// Whatever is imported under this prefix is a procedure, built in or of the site.
const PROCEDURE: &str = "procedure/";
/// What a module must have to be a procedure, each with one parameter: its options.
const PROCEDURE_FUNCTIONS: [&str; 2] = ["plan", "run"];

/// A procedure that can be run by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procedure {
    pub name: String,
    /// The first line of its own documentation.
    pub doc: String,
    /// The file it is read from; empty when it is built in.
    pub file: String,
}

/// The text that imports a procedure as `the_procedure`.
pub fn import_of_procedure(name: &str) -> String {
    format!("import {:?} as the_procedure; ", format!("{PROCEDURE}{name}"))
}

/// Why a module can't be used.
#[derive(Debug, Error)]
pub enum ModuleError {
    #[error("a module's name is a relative path without `..`: `{0}`")]
    Outside(String),
    #[error("there is no module `{name}`; looked in {looked}")]
    NotFound { name: String, looked: String },
    #[error("{0} can be written by others; chmod go-w it")]
    WritableByOthers(String),
    #[error("{0} belongs to another user; chown it")]
    ForeignOwner(String),
    #[error("module {file} is a link out of its folder, to {to}")]
    LeadsOutside { file: String, to: String },
    #[error("module {file}: {cause}")]
    Unreadable { file: String, cause: std::io::Error },
    #[error("module {0} has statements outside of functions; a module holds functions only")]
    NotFunctionsOnly(String),
}

/// Where modules are looked for after the built-in ones, in this order.
#[derive(Debug, Clone, Default)]
pub struct ModulePaths {
    /// The folder of the script that runs.
    pub script: Option<PathBuf>,
    /// The site's folder in the configuration directory.
    pub site: Option<PathBuf>,
    /// `/etc/segsh/site`.
    pub system: Option<PathBuf>,
}

impl ModulePaths {
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.script, &self.site, &self.system].into_iter().flatten()
    }
}

/// The confined resolver.
#[derive(Clone)]
pub struct Resolver {
    paths: Rc<RefCell<ModulePaths>>,
    loaded: Rc<RefCell<HashMap<String, Shared<Module>>>>,
    context: Rc<Context>,
}

impl Resolver {
    pub fn new(paths: ModulePaths, context: &Rc<Context>) -> Resolver {
        Resolver { paths: Rc::new(RefCell::new(paths)), loaded: Rc::default(), context: Rc::clone(context) }
    }

    /// The folder of the script that runs next; what was loaded from another is forgotten.
    pub fn set_script_folder(&self, folder: Option<PathBuf>) {
        self.paths.borrow_mut().script = folder;
        self.loaded.borrow_mut().clear();
    }

    /// The file (or `std/…`) and the text of a module.
    pub fn source(&self, name: &str) -> Result<(String, String), ModuleError> {
        let not_found = |looked: String| ModuleError::NotFound { name: name.to_string(), looked };
        if let Some(built_in) = name.strip_prefix("std/") {
            return std_source(built_in)
                .map(|text| (name.to_string(), text.to_string()))
                .ok_or_else(|| not_found("the built-in modules".into()));
        }
        if let Some(procedure) = name.strip_prefix(PROCEDURE) {
            return match std_source(procedure) {
                Some(text) => Ok((format!("std/{procedure}"), text.to_string())),
                None => self.file_of(procedure, &self.site_folders()),
            };
        }
        let folders: Vec<PathBuf> = self.paths.borrow().folders().cloned().collect();
        self.file_of(name, &folders)
    }

    /// The folders of the site and the machine: a procedure is the same whichever script asks for it.
    fn site_folders(&self) -> Vec<PathBuf> {
        let paths = self.paths.borrow();
        [&paths.site, &paths.system].into_iter().flatten().cloned().collect()
    }

    /// The first file of this name in the folders, with its text.
    fn file_of(&self, name: &str, folders: &[PathBuf]) -> Result<(String, String), ModuleError> {
        let relative = Path::new(name);
        let inside = |c: Component| matches!(c, Component::Normal(_));
        if name.is_empty() || !relative.components().all(inside) {
            return Err(ModuleError::Outside(name.to_string()));
        }
        for folder in folders {
            let file = folder.join(format!("{name}.rhai"));
            if file.is_file() {
                return read_trusted(folder, &file).map(|text| (file.display().to_string(), text));
            }
        }
        let looked: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
        Err(ModuleError::NotFound { name: name.to_string(), looked: format!("std/ {}", looked.join(" ")) })
    }

    /// Every procedure: the built-in ones, then the site's and the machine's modules with a `plan` and a `run`. A file that
    /// can't be trusted or read is none; running it by its name says why.
    pub fn procedures(&self) -> Vec<Procedure> {
        let mut found: Vec<Procedure> =
            procedure_docs().into_iter().map(|(name, doc)| Procedure { name, doc, file: String::new() }).collect();
        for folder in self.site_folders() {
            let mut files: Vec<PathBuf> =
                std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            files.sort();
            for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "rhai")) {
                let Some(name) = file.file_stem().and_then(|s| s.to_str()) else { continue };
                let Ok(text) = read_trusted(&folder, file) else { continue };
                if is_procedure(&text) && !found.iter().any(|p| p.name == name) {
                    let file = file.display().to_string();
                    found.push(Procedure { name: name.to_string(), doc: first_line(&text), file });
                }
            }
        }
        found
    }

    /// Whether the site or the machine has a module of this name, fit for use or not.
    pub fn has_site_module(&self, name: &str) -> bool {
        !matches!(self.file_of(name, &self.site_folders()), Err(ModuleError::NotFound { .. } | ModuleError::Outside(_)))
    }

    /// Compiles a module's text and checks that it holds functions only.
    pub fn compile(&self, engine: &Engine, name: &str) -> Result<AST, Box<EvalAltResult>> {
        let thrown = |error: ModuleError| super::thrown::Thrown::script("module", error.to_string()).into();
        let (file, text) = self.source(name).map_err(thrown)?;
        self.context.sources.borrow_mut().insert(file.clone(), text.clone());
        let mut ast = engine
            .compile(&text)
            .map_err(|e| Box::new(EvalAltResult::ErrorInModule(file.clone(), e.into(), Position::NONE)))?;
        ast.set_source(file.as_str());
        if !ast.statements().iter().all(is_harmless) {
            return Err(thrown(ModuleError::NotFunctionsOnly(file)));
        }
        Ok(ast)
    }
}

/// A text that compiles, with a public function of one parameter for each of [`PROCEDURE_FUNCTIONS`].
fn is_procedure(text: &str) -> bool {
    super::check::tree(text).is_some_and(|ast| {
        let has = |name: &str| {
            ast.iter_functions().any(|f| f.name == name && f.params.len() == 1 && f.access == rhai::FnAccess::Public)
        };
        PROCEDURE_FUNCTIONS.into_iter().all(has) && ast.statements().iter().all(is_harmless)
    })
}

/// Modules may import modules and name constants for others; nothing that acts.
pub(super) fn is_harmless(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Import(..) | Stmt::Export(..) | Stmt::Noop(..))
}

/// The text of a file that nobody else can have written: it and the folders that lead to it belong to whoever
/// runs this, or to root, nobody else may write there, and no link leads out of `folder`.
pub(super) fn read_trusted(folder: &Path, file: &Path) -> Result<String, ModuleError> {
    let shown = file.display().to_string();
    let unreadable = |cause| ModuleError::Unreadable { file: shown.clone(), cause };
    let folder = folder.canonicalize().map_err(unreadable)?;
    let real = file.canonicalize().map_err(unreadable)?;
    let Ok(inside) = real.strip_prefix(&folder) else {
        return Err(ModuleError::LeadsOutside { file: shown, to: real.display().to_string() });
    };
    // From the file up to the folder: whoever can write one of them can replace what stands in it.
    for place in real.ancestors().take(inside.components().count() + 1) {
        let found = place.metadata().map_err(unreadable)?;
        let name = || place.display().to_string();
        if found.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(ModuleError::WritableByOthers(name()));
        }
        if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
            return Err(ModuleError::ForeignOwner(name()));
        }
    }
    std::fs::read_to_string(&real).map_err(unreadable)
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        _position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        if let Some(module) = self.loaded.borrow().get(path) {
            return Ok(Shared::clone(module));
        }
        let ast = self.compile(engine, path)?;
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine)?;
        let module: Shared<Module> = module.into();
        self.loaded.borrow_mut().insert(path.to_string(), Shared::clone(&module));
        Ok(module)
    }
}

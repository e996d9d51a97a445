//! SQLite's `sqlite3_vfs`: which names open, and what the system gives.

use super::checkpoint::{Checkpointed, Mode};
use super::file::OpenFile;
use super::methods::{READS_LOG, RawFile, install};
use super::node::Node;
use super::{DEFAULT_LOG_CAP, VfsError};
use crate::engine::storage::{FileId, Storage};
use rusqlite::ffi;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest name we open, and some.
const MAX_PATH: c_int = 64;

/// What the callbacks find behind `pAppData`. Connections may outlive the registration, so it is
/// never freed; only its storage is let go.
struct AppData {
    storage: Mutex<Option<Arc<dyn Storage>>>,
    node: Arc<Node>,
}

/// One registered VFS; it is unregistered when dropped.
pub(super) struct Registration {
    pub(super) name: CString,
    pub(super) node: Arc<Node>,
    app: &'static AppData,
    vfs: *mut ffi::sqlite3_vfs,
}

// SAFETY: the pointer is only given to `sqlite3_vfs_unregister`, which takes SQLite's own mutex.
unsafe impl Send for Registration {}
// SAFETY: as above; every other field is Sync.
unsafe impl Sync for Registration {}

impl Registration {
    pub(super) fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.app.storage()
    }
}

impl AppData {
    fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: it was registered by `register` and is unregistered once. Its memory stays,
        // because open connections still point to it.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
        *self.app.storage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(super) fn register(name: &str, storage: Arc<dyn Storage>) -> Result<Registration, VfsError> {
    let name = CString::new(name).map_err(|_| VfsError::Name(name.to_owned()))?;
    let log = storage.len(FileId::Wal)?;
    let node = Arc::new(Node::default());
    node.set_log_end(log);
    node.log_cap.store(DEFAULT_LOG_CAP, Ordering::Relaxed);
    // SAFETY: plain calls; SQLite must be initialized before a VFS is looked up or registered.
    let taken = unsafe {
        ffi::sqlite3_initialize();
        !ffi::sqlite3_vfs_find(name.as_ptr()).is_null()
    };
    if taken {
        return Err(VfsError::Name(name.to_string_lossy().into_owned()));
    }
    let app: &'static AppData =
        Box::leak(Box::new(AppData { storage: Mutex::new(Some(storage)), node: Arc::clone(&node) }));
    let static_name: &'static CStr = Box::leak(name.clone().into_boxed_c_str());
    let vfs = Box::into_raw(Box::new(description(static_name, app)));
    // SAFETY: the structure, its name and its data live as long as the process.
    let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    if code != ffi::SQLITE_OK {
        return Err(VfsError::Register(code));
    }
    Ok(Registration { name, node, app, vfs })
}

fn description(name: &'static CStr, app: &'static AppData) -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<RawFile>() as c_int,
        mxPathname: MAX_PATH,
        pNext: ptr::null_mut(),
        zName: name.as_ptr(),
        pAppData: ptr::from_ref(app).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: None,
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// The registration's data.
///
/// # Safety
/// `vfs` is one that `register` made.
unsafe fn data(vfs: *mut ffi::sqlite3_vfs) -> &'static AppData {
    // SAFETY: the data was leaked, and is only reached through shared references.
    unsafe { &*(*vfs).pAppData.cast::<AppData>() }
}

/// The file a name means, or none.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn file_named(name: *const c_char) -> Option<FileId> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    FileId::ALL.into_iter().find(|f| f.name().as_bytes() == name.to_bytes())
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    raw: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's promises about its arguments; a failed open must leave no methods behind.
    let (id, app) = unsafe {
        (*raw).pMethods = ptr::null();
        (file_named(name), data(vfs))
    };
    // A journal or a temporary file would bypass the mirror, so only the two names open, each in
    // its own place.
    let expected = match id {
        Some(FileId::Main) => ffi::SQLITE_OPEN_MAIN_DB,
        Some(FileId::Wal) => ffi::SQLITE_OPEN_WAL,
        None => return ffi::SQLITE_CANTOPEN,
    };
    let (Some(id), true, Some(storage)) = (id, flags & expected != 0, app.storage()) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let file = OpenFile::new(id, storage, Arc::clone(&app.node));
    // SAFETY: `raw` has `szOsFile` bytes; `out_flags` is null or a place for the answer.
    unsafe {
        install(raw, file);
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync_dir: c_int) -> c_int {
    // SAFETY: SQLite passes a C string.
    match unsafe { file_named(name) } {
        // Replicated files are truncated, never deleted.
        Some(_) => ffi::SQLITE_IOERR_DELETE,
        None => ffi::SQLITE_IOERR_DELETE_NOENT,
    }
}

unsafe extern "C" fn access(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _flags: c_int, to: *mut c_int) -> c_int {
    // SAFETY: SQLite's promises about its arguments.
    let (id, app) = unsafe { (file_named(name), data(vfs)) };
    let looked = catch_unwind(AssertUnwindSafe(|| match (id, app.storage()) {
        // A log of no length is no log: SQLite would otherwise try to recover from it.
        (Some(id), Some(storage)) => storage.len(id).map(|len| len > 0),
        _ => Ok(false),
    }));
    match looked {
        Ok(Ok(exists)) => {
            // SAFETY: SQLite gives a place for the answer.
            unsafe { *to = c_int::from(exists) };
            ffi::SQLITE_OK
        }
        Ok(Err(e)) => super::fault::remember(e, ffi::SQLITE_IOERR_ACCESS),
        Err(_) => ffi::SQLITE_IOERR_ACCESS,
    }
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    to: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a C string, and `size` bytes for the answer.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > usize::try_from(size).unwrap_or(0) {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len());
    }
    ffi::SQLITE_OK
}

/// SQLite's own VFS of this system, for what has nothing to do with files.
fn system() -> Option<*mut ffi::sqlite3_vfs> {
    // SAFETY: a plain look-up of the default VFS.
    let vfs = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    (!vfs.is_null()).then_some(vfs)
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, len: c_int, to: *mut c_char) -> c_int {
    // SAFETY: the arguments are passed on as they came.
    system().map_or(0, |vfs| unsafe { (*vfs).xRandomness.map_or(0, |f| f(vfs, len, to)) })
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    // SAFETY: the arguments are passed on as they came.
    system().map_or(0, |vfs| unsafe { (*vfs).xSleep.map_or(0, |f| f(vfs, micros)) })
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, to: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: the arguments are passed on as they came.
    system()
        .map_or(ffi::SQLITE_ERROR, |vfs| unsafe { (*vfs).xCurrentTimeInt64.map_or(ffi::SQLITE_ERROR, |f| f(vfs, to)) })
}

unsafe extern "C" fn last_error(_vfs: *mut ffi::sqlite3_vfs, _size: c_int, _to: *mut c_char) -> c_int {
    0
}

/// Sets how many databases a connection may attach: none, except while VACUUM needs its own.
pub(super) fn set_attach_limit(connection: &rusqlite::Connection, limit: c_int) {
    // SAFETY: the handle is valid while the connection is borrowed.
    unsafe {
        ffi::sqlite3_limit(connection.handle(), ffi::SQLITE_LIMIT_ATTACHED, limit);
    }
}

/// The reserved bytes of each page of the main database, as SQLite sees them.
pub(super) fn reserved_bytes(connection: &rusqlite::Connection) -> Option<c_int> {
    let mut answer: c_int = -1;
    // SAFETY: the handle is valid while the connection is borrowed; this opcode takes an integer,
    // and -1 asks without changing anything.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            ptr::from_mut(&mut answer).cast::<c_void>(),
        )
    };
    (code == ffi::SQLITE_OK).then_some(answer)
}

/// Whether a connection's read transaction reads the log, or `main.db` alone because everything in the log is
/// there too; `None` when it has no read transaction.
pub(super) fn reads_log(connection: &rusqlite::Connection) -> Option<bool> {
    let mut answer: c_int = -1;
    // SAFETY: the handle is valid while the connection is borrowed; this opcode of our own takes an integer.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            READS_LOG,
            ptr::from_mut(&mut answer).cast::<c_void>(),
        )
    };
    (code == ffi::SQLITE_OK && answer >= 0).then_some(answer == 1)
}

/// Runs one checkpoint of the main database.
pub(super) fn run_checkpoint(connection: &rusqlite::Connection, mode: Mode) -> rusqlite::Result<Checkpointed> {
    let mode = match mode {
        Mode::Passive => ffi::SQLITE_CHECKPOINT_PASSIVE,
        Mode::Truncate => ffi::SQLITE_CHECKPOINT_TRUNCATE,
    };
    let (mut log_frames, mut copied_frames): (c_int, c_int) = (-1, -1);
    // SAFETY: the handle is valid while the connection is borrowed; the two places are ours.
    let code = unsafe {
        ffi::sqlite3_wal_checkpoint_v2(
            connection.handle(),
            c"main".as_ptr(),
            mode,
            &raw mut log_frames,
            &raw mut copied_frames,
        )
    };
    match code & 0xff {
        ffi::SQLITE_OK | ffi::SQLITE_BUSY => Ok(Checkpointed {
            busy: code != ffi::SQLITE_OK,
            log_frames: log_frames.into(),
            copied_frames: copied_frames.into(),
        }),
        _ => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

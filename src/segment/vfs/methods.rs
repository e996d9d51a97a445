//! SQLite's `sqlite3_io_methods` over [`OpenFile`].

use super::file::OpenFile;
use super::node::{Level, SHM_SLOTS};
use super::pragma;
use super::shm::Mapped;
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// A file control of our own, above the numbers that SQLite keeps for itself: whether the connection's read
/// transaction reads the log (1), `main.db` alone (0), or there is none (-1).
pub(super) const READS_LOG: c_int = 0x5e95_0001;

/// What SQLite allocates for us, `szOsFile` bytes of it: its own header, and our file.
#[repr(C)]
pub(super) struct RawFile {
    base: ffi::sqlite3_file,
    file: *mut OpenFile,
}

/// Fills in SQLite's file object.
///
/// # Safety
/// `raw` points to `size_of::<RawFile>()` writable bytes, as SQLite promises to `xOpen`.
pub(super) unsafe fn install(raw: *mut ffi::sqlite3_file, file: OpenFile) {
    let raw = raw.cast::<RawFile>();
    // SAFETY: the caller's promise; the box is freed in `close`, which SQLite calls exactly once
    // because `pMethods` is set.
    unsafe {
        (*raw).file = Box::into_raw(Box::new(file));
        (*raw).base.pMethods = &raw const METHODS;
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 2 has the shared memory; version 3 would offer memory mapping, which bypasses us.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Runs a callback's body. A panic must not cross into C: it poisons the database, because nobody
/// knows what it left half done.
fn with(raw: *mut ffi::sqlite3_file, failed: c_int, body: impl FnOnce(&mut OpenFile) -> c_int) -> c_int {
    // SAFETY: SQLite hands us only files that `install` filled in, and uses one file from one
    // thread at a time.
    let file = unsafe { (*raw.cast::<RawFile>()).file.as_mut() };
    let Some(file) = file else { return failed };
    if file.is_poisoned() {
        return failed;
    }
    catch_unwind(AssertUnwindSafe(|| body(file))).unwrap_or_else(|_| {
        file.poison();
        tracing::error!("a file operation panicked; the database answers nothing any more");
        failed
    })
}

/// SQLite's offsets and lengths are signed and never negative.
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

unsafe extern "C" fn close(raw: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: see `install`; the pointer is taken out, so a second close finds null.
    let file = unsafe {
        let raw = raw.cast::<RawFile>();
        let file = (*raw).file;
        (*raw).file = ptr::null_mut();
        file
    };
    if !file.is_null() {
        // SAFETY: it came from `Box::into_raw`.
        let owned = unsafe { Box::from_raw(file) };
        if catch_unwind(AssertUnwindSafe(|| drop(owned))).is_err() {
            return ffi::SQLITE_IOERR_CLOSE;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    raw: *mut ffi::sqlite3_file,
    to: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    with(raw, ffi::SQLITE_IOERR_READ, |file| {
        let len = usize::try_from(len).unwrap_or(0);
        // SAFETY: SQLite gives a buffer of `len` bytes, its alone during the call.
        let buf = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), len) };
        file.read(buf, unsigned(offset))
    })
}

unsafe extern "C" fn write(
    raw: *mut ffi::sqlite3_file,
    from: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    with(raw, ffi::SQLITE_IOERR_WRITE, |file| {
        let len = usize::try_from(len).unwrap_or(0);
        // SAFETY: SQLite gives `len` readable bytes that nobody changes during the call.
        let data = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), len) };
        file.write(data, unsigned(offset))
    })
}

unsafe extern "C" fn truncate(raw: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    with(raw, ffi::SQLITE_IOERR_TRUNCATE, |file| file.truncate(unsigned(len)))
}

unsafe extern "C" fn sync(raw: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR_FSYNC, OpenFile::sync)
}

unsafe extern "C" fn file_size(raw: *mut ffi::sqlite3_file, to: *mut ffi::sqlite3_int64) -> c_int {
    with(raw, ffi::SQLITE_IOERR_FSTAT, |file| match file.size() {
        Ok(size) => {
            // SAFETY: SQLite gives a place for the answer.
            unsafe { *to = i64::try_from(size).unwrap_or(i64::MAX) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    })
}

unsafe extern "C" fn lock(raw: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR_LOCK, |file| {
        Level::from_sqlite(level).map_or(ffi::SQLITE_IOERR_LOCK, |level| file.lock(level))
    })
}

unsafe extern "C" fn unlock(raw: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR_UNLOCK, |file| {
        file.unlock(Level::from_sqlite(level).unwrap_or(Level::None));
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn check_reserved_lock(raw: *mut ffi::sqlite3_file, to: *mut c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK, |file| {
        // SAFETY: SQLite gives a place for the answer.
        unsafe { *to = c_int::from(file.is_reserved()) };
        ffi::SQLITE_OK
    })
}

unsafe extern "C" fn file_control(raw: *mut ffi::sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    with(raw, ffi::SQLITE_IOERR, |file| match op {
        ffi::SQLITE_FCNTL_CKPT_START => {
            file.checkpoint_starts();
            ffi::SQLITE_OK
        }
        ffi::SQLITE_FCNTL_CKPT_DONE => {
            file.checkpoint_done();
            ffi::SQLITE_OK
        }
        // SAFETY: the argument of this one is an array of strings, the first for our answer.
        ffi::SQLITE_FCNTL_PRAGMA => unsafe { answer_pragma(arg.cast()) },
        READS_LOG => {
            // SAFETY: the argument of this one, which is our own, is an integer to answer in.
            unsafe { *arg.cast::<c_int>() = file.reads_log().map_or(-1, c_int::from) };
            ffi::SQLITE_OK
        }
        // The log is never deleted, and a page that was partly written never harms its neighbours.
        ffi::SQLITE_FCNTL_PERSIST_WAL | ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE => {
            // SAFETY: the argument of these two is an integer to answer in.
            unsafe { *arg.cast::<c_int>() = 1 };
            ffi::SQLITE_OK
        }
        ffi::SQLITE_FCNTL_HAS_MOVED => {
            // SAFETY: as above.
            unsafe { *arg.cast::<c_int>() = 0 };
            ffi::SQLITE_OK
        }
        _ => ffi::SQLITE_NOTFOUND,
    })
}

/// Refuses a pragma with words, or leaves it to SQLite.
///
/// # Safety
/// `args` is the array SQLite passes with `SQLITE_FCNTL_PRAGMA`.
unsafe fn answer_pragma(args: *mut *mut c_char) -> c_int {
    // SAFETY: element 1 is the pragma's name, element 2 its value or null.
    let (name, value) = unsafe {
        let value = *args.add(2);
        (
            CStr::from_ptr(*args.add(1)).to_string_lossy(),
            (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy()),
        )
    };
    let Some(why) = pragma::refusal(&name, value.as_deref()) else {
        return ffi::SQLITE_NOTFOUND;
    };
    // SAFETY: SQLite frees element 0 with sqlite3_free, so the words are copied into its memory.
    unsafe {
        let words = ffi::sqlite3_malloc64(why.len() as u64 + 1).cast::<u8>();
        if !words.is_null() {
            ptr::copy_nonoverlapping(why.as_ptr(), words, why.len());
            *words.add(why.len()) = 0;
            *args = words.cast();
        }
    }
    ffi::SQLITE_ERROR
}

unsafe extern "C" fn sector_size(_raw: *mut ffi::sqlite3_file) -> c_int {
    super::checksum::PAGE_SIZE as c_int
}

unsafe extern "C" fn device_characteristics(_raw: *mut ffi::sqlite3_file) -> c_int {
    // Nothing more is true of ordinary files; claiming more loses commits.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    raw: *mut ffi::sqlite3_file,
    index: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    with(raw, ffi::SQLITE_IOERR_SHMMAP, |file| {
        let (index, size) = (usize::try_from(index).unwrap_or(0), usize::try_from(size).unwrap_or(0));
        let (at, code) = match file.shm_map(index, size, extend != 0) {
            Mapped::At(at) => (at.cast(), ffi::SQLITE_OK),
            Mapped::Absent => (ptr::null_mut(), ffi::SQLITE_OK),
            Mapped::OutOfMemory => (ptr::null_mut(), ffi::SQLITE_NOMEM),
        };
        // SAFETY: SQLite gives a place for the answer.
        unsafe { *to = at };
        code
    })
}

unsafe extern "C" fn shm_lock(raw: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR_SHMLOCK, |file| {
        let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
            return ffi::SQLITE_IOERR_SHMLOCK;
        };
        if first + count > SHM_SLOTS {
            return ffi::SQLITE_IOERR_SHMLOCK;
        }
        let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            file.shm_unlock(first, count, exclusive);
            return ffi::SQLITE_OK;
        }
        file.shm_lock(first, count, exclusive)
    })
}

unsafe extern "C" fn shm_barrier(raw: *mut ffi::sqlite3_file) {
    with(raw, ffi::SQLITE_IOERR, |file| {
        file.shm_barrier();
        ffi::SQLITE_OK
    });
}

unsafe extern "C" fn shm_unmap(raw: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    with(raw, ffi::SQLITE_IOERR, |file| {
        file.shm_unmap();
        ffi::SQLITE_OK
    })
}

//! libnbd's functions, as /usr/include/libnbd.h declares them, looked up when the library is loaded.

use std::{
    error::Error as _,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::OnceLock,
};

use libloading::Library as File;

/// The library as every distribution names it: its interface is stable under this number (libnbd(3), "Libnbd ABI").
const LIBRARY: &str = "libnbd.so.0";

/// An `nbd_handle`.
pub(super) type Handle = *mut c_void;

/// Any of libnbd's callbacks: a function, what it is given, and who frees that.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Callback {
    pub(super) function: *const c_void,
    pub(super) user_data: *mut c_void,
    pub(super) free: *const c_void,
}

pub(super) const NO_CALLBACK: Callback = Callback { function: ptr::null(), user_data: ptr::null_mut(), free: ptr::null() };

/// The functions in use, as /usr/include/libnbd.h declares them.
pub(super) struct Functions {
    pub(super) create: unsafe extern "C" fn() -> Handle,
    pub(super) close: unsafe extern "C" fn(Handle),
    pub(super) get_error: unsafe extern "C" fn() -> *const c_char,
    pub(super) get_errno: unsafe extern "C" fn() -> c_int,
    pub(super) add_meta_context: unsafe extern "C" fn(Handle, *const c_char) -> c_int,
    pub(super) set_uri_allow_local_file: unsafe extern "C" fn(Handle, bool) -> c_int,
    pub(super) set_full_info: unsafe extern "C" fn(Handle, bool) -> c_int,
    pub(super) aio_connect_uri: unsafe extern "C" fn(Handle, *const c_char) -> c_int,
    pub(super) aio_is_connecting: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) aio_is_negotiating: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) aio_is_ready: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) aio_is_processing: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) aio_get_fd: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) get_export_name: unsafe extern "C" fn(Handle) -> *mut c_char,
    pub(super) get_canonical_export_name: unsafe extern "C" fn(Handle) -> *mut c_char,
    pub(super) poll: unsafe extern "C" fn(Handle, c_int) -> c_int,
    pub(super) get_size: unsafe extern "C" fn(Handle) -> i64,
    pub(super) is_read_only: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) can_flush: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) can_fua: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) can_multi_conn: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) can_df: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) can_meta_context: unsafe extern "C" fn(Handle, *const c_char) -> c_int,
    pub(super) get_tls_negotiated: unsafe extern "C" fn(Handle) -> c_int,
    pub(super) get_block_size: unsafe extern "C" fn(Handle, c_int) -> i64,
    pub(super) aio_pread_structured: unsafe extern "C" fn(Handle, *mut c_void, usize, u64, Callback, Callback, u32) -> i64,
    pub(super) aio_pwrite: unsafe extern "C" fn(Handle, *const c_void, usize, u64, Callback, u32) -> i64,
    pub(super) aio_flush: unsafe extern "C" fn(Handle, Callback, u32) -> i64,
    pub(super) aio_block_status: unsafe extern "C" fn(Handle, u64, u64, Callback, Callback, u32) -> i64,
    pub(super) aio_command_completed: unsafe extern "C" fn(Handle, u64) -> c_int,
    _file: File,
}

impl Functions {
    fn load() -> Result<Self, String> {
        // SAFETY: loading runs the library's initialisers; libnbd's only set up its own thread-local error context.
        let file = unsafe { File::new(LIBRARY) }.map_err(|error| words(&error))?;
        // SAFETY: each type is the one that libnbd.h declares for that name, and `_file` keeps the library loaded as long as the
        // pointers live.
        unsafe {
            Ok(Self {
                create: symbol(&file, c"nbd_create")?,
                close: symbol(&file, c"nbd_close")?,
                get_error: symbol(&file, c"nbd_get_error")?,
                get_errno: symbol(&file, c"nbd_get_errno")?,
                add_meta_context: symbol(&file, c"nbd_add_meta_context")?,
                set_uri_allow_local_file: symbol(&file, c"nbd_set_uri_allow_local_file")?,
                set_full_info: symbol(&file, c"nbd_set_full_info")?,
                aio_connect_uri: symbol(&file, c"nbd_aio_connect_uri")?,
                aio_is_connecting: symbol(&file, c"nbd_aio_is_connecting")?,
                aio_is_negotiating: symbol(&file, c"nbd_aio_is_negotiating")?,
                aio_is_ready: symbol(&file, c"nbd_aio_is_ready")?,
                aio_is_processing: symbol(&file, c"nbd_aio_is_processing")?,
                aio_get_fd: symbol(&file, c"nbd_aio_get_fd")?,
                get_export_name: symbol(&file, c"nbd_get_export_name")?,
                get_canonical_export_name: symbol(&file, c"nbd_get_canonical_export_name")?,
                poll: symbol(&file, c"nbd_poll")?,
                get_size: symbol(&file, c"nbd_get_size")?,
                is_read_only: symbol(&file, c"nbd_is_read_only")?,
                can_flush: symbol(&file, c"nbd_can_flush")?,
                can_fua: symbol(&file, c"nbd_can_fua")?,
                can_multi_conn: symbol(&file, c"nbd_can_multi_conn")?,
                can_df: symbol(&file, c"nbd_can_df")?,
                can_meta_context: symbol(&file, c"nbd_can_meta_context")?,
                get_tls_negotiated: symbol(&file, c"nbd_get_tls_negotiated")?,
                get_block_size: symbol(&file, c"nbd_get_block_size")?,
                aio_pread_structured: symbol(&file, c"nbd_aio_pread_structured")?,
                aio_pwrite: symbol(&file, c"nbd_aio_pwrite")?,
                aio_flush: symbol(&file, c"nbd_aio_flush")?,
                aio_block_status: symbol(&file, c"nbd_aio_block_status")?,
                aio_command_completed: symbol(&file, c"nbd_aio_command_completed")?,
                _file: file,
            })
        }
    }
}

/// A function of the library.
///
/// # Safety
/// What the loader says; the reason stands behind it.
fn words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |why| format!("{error}: {why}"))
}

/// The name's symbol has the type `T`.
unsafe fn symbol<T: Copy>(file: &File, name: &CStr) -> Result<T, String> {
    // SAFETY: the caller's promise.
    unsafe { file.get::<T>(name.to_bytes_with_nul()) }.map(|symbol| *symbol).map_err(|error| words(&error))
}

/// The library's functions, loaded once.
///
/// # Errors
/// The loader's words.
pub(super) fn functions() -> Result<&'static Functions, String> {
    static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();
    FUNCTIONS.get_or_init(Functions::load).as_ref().map_err(Clone::clone)
}

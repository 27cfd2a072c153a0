//! The signals that end a run.

use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use signal_hook::{consts, flag};

/// A file that may not grow any more (`RLIMIT_FSIZE`) is an error to be told, not the program's end: with a handler, write(2) says EFBIG.
pub(super) fn outlive_file_size_limit() {
    let _ = flag::register(consts::SIGXFSZ, Arc::new(AtomicBool::new(false))); // else it ends as it would have ended
}

/// Set by the first INT, TERM or HUP. From the first call on they end nothing by themselves; who asks twice doesn't want to wait for a
/// server that never answers.
pub(super) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [consts::SIGINT, consts::SIGTERM, consts::SIGHUP] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(Arc::clone(FLAG.get_or_init(|| stop)))
}

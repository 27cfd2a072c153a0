//! The signals that end a run.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{consts, flag};

/// A file that may not grow any more (`RLIMIT_FSIZE`) is an error to be told, not the program's end: with a handler, write(2) says EFBIG.
pub(super) fn outlive_file_size_limit() {
    let _ = flag::register(consts::SIGXFSZ, Arc::new(AtomicBool::new(false))); // else it ends as it would have ended
}

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether a signal came, once they are taken.
pub(super) fn stopped() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Set by the first INT, TERM or HUP. From the first call on they end nothing by themselves; who asks twice doesn't want to wait for a
/// server that never answers.
pub(super) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
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

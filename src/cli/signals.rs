//! The signals that end a run.

use std::{
    io,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use signal_hook::{consts, flag};

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

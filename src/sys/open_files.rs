//! How many files this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Allows as many open files as the system does without asking anybody: 64 members, each on a long backing chain, are more than the
/// usual 1024. Where that fails, the limit stays as it was.
pub fn allow_many() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard); // what can't be opened then is told by name
    }
}

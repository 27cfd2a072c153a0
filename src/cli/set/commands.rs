//! The commands of a policy that freeze and thaw, or make and drop snapshots, around a run.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::session::Session;
use crate::cli::{
    say::complain,
    signals::{stop_flag, stopped},
};

/// How often it is looked whether a command has ended.
const TICK: Duration = Duration::from_millis(20);
/// How long one that is told to end may take for it.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `before`, and `after` when it is dropped: whatever happened in between.
pub(super) struct Around<'a> {
    session: &'a Session,
    kind: &'static str,
    ended: bool,
}

impl<'a> Around<'a> {
    /// Runs the policy's `before`.
    ///
    /// # Errors
    /// Where it fails or takes too long; `after` is run then, too.
    pub(super) fn begin(session: &'a Session, kind: &'static str) -> Result<Self> {
        let around = Self { session, kind, ended: false };
        // From here on a signal is a flag: `after` is run all the same.
        stop_flag().context("signals")?;
        if let Some(command) = &session.policy.before {
            around.run("before", command, true).with_context(|| {
                format!(
                    "the policy's command `before` failed, so nothing was read\nhint: run it by hand; quorum-img set policy {} before= leaves it out",
                    session.quoted()
                )
            })?;
        }
        Ok(around)
    }

    /// Runs `after`, and returns what is to be said of it where it failed.
    pub(super) fn end(mut self) -> Option<String> {
        self.after()
    }

    fn after(&mut self) -> Option<String> {
        let command = self.session.policy.after.as_ref().filter(|_| !std::mem::replace(&mut self.ended, true))?;
        let failed = self.run("after", command, false).err()?;
        Some(format!("the policy's command `after` failed: {failed:#}: what `before` did may still stand"))
    }

    /// Runs a command by a shell, in a group of its own, so that all of it ends where it takes too long. It reads nothing and prints to standard
    /// error: standard output is the report's.
    fn run(&self, what: &'static str, command: &str, heeds_signals: bool) -> Result<()> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command, "quorum-img"]).arg(&self.session.place.record);
        shell.env("QUORUM_IMG_SET", &self.session.place.record).env("QUORUM_IMG_RUN", self.session.run.to_string());
        shell.env("QUORUM_IMG_COMMAND", self.kind).env("QUORUM_IMG_WHEN", what);
        shell.stdin(Stdio::null()).stdout(std::io::stderr()).process_group(0);
        let mut child = shell.spawn().with_context(|| format!("{what}: no shell"))?;
        let until = Instant::now() + self.session.policy.command_timeout;
        loop {
            if let Some(status) = child.try_wait()? {
                return ended(what, status);
            }
            let interrupted = heeds_signals && stopped();
            if interrupted || Instant::now() >= until {
                stop(&mut child);
                let why = if interrupted { "was interrupted" } else { "took longer than command-timeout allows, and was ended" };
                bail!("{what}: {why}");
            }
            thread::sleep(TICK);
        }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.after() {
            complain(&failed);
        }
    }
}

fn ended(what: &str, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("{what}: {status}")
}

/// Ends all of a command's group: asked first, and then not asked any more.
fn stop(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    let _ = killpg(group, Signal::SIGTERM); // it may have ended
    let until = Instant::now() + GRACE;
    while Instant::now() < until && !matches!(child.try_wait(), Ok(Some(_))) {
        thread::sleep(TICK);
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

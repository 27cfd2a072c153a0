//! The way to the terminal: results to standard output, all else to standard error.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use anstream::ColorChoice;
use clap::ValueEnum;

use crate::{member::escaped, report::wrapped, sys::terminal};

/// Columns of a terminal that doesn't tell how many it has.
const COLUMNS: usize = 80;

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Colours {
    /// On a terminal
    Auto,
    /// Wherever it goes
    Always,
    /// Not at all
    Never,
}

impl Colours {
    /// From now on it is so.
    pub(super) fn settle(self) {
        match self {
            Self::Auto => {}
            Self::Always => ColorChoice::Always.write_global(),
            Self::Never => ColorChoice::Never.write_global(),
        }
    }
}

/// When the program was begun, as the first who asks finds it.
pub(super) fn begun() -> SystemTime {
    static BEGUN: OnceLock<SystemTime> = OnceLock::new();
    *BEGUN.get_or_init(SystemTime::now)
}

/// How wide a terminal is.
pub(super) fn columns(to: impl AsFd) -> usize {
    terminal::columns(to).unwrap_or(COLUMNS).max(40)
}

/// Text for standard error, as wide as that is; `lead` stands before it.
fn fitted(lead: &str, text: &str) -> String {
    let text = format!("{lead} {text}");
    if io::stderr().is_terminal() { wrapped(&text, columns(io::stderr()), "  ") } else { text }
}

/// Says on standard error what went wrong.
pub(super) fn complain(text: &str) {
    let mut to = anstream::stderr().lock();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = writeln!(to, "{}", fitted(&format!("{style}quorum-img:{style:#}"), text)); // where standard error is gone, nobody listens
}

/// Says on standard error what the user should know.
pub(super) fn warn(text: &str) {
    let mut to = anstream::stderr().lock();
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(to, "{}", fitted(&format!("{style}warning:{style:#}"), text)); // as in `complain`
}

/// Whether standard output takes colours; `CLICOLOR_FORCE` alone doesn't put them into a file.
pub(super) fn colours() -> ColorChoice {
    let asked = ColorChoice::global() == ColorChoice::Always;
    if asked || io::stdout().is_terminal() { anstream::AutoStream::choice(&io::stdout()) } else { ColorChoice::Never }
}

/// Whether anything went to standard output.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// See [`PRINTED`].
pub(super) fn has_printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}

/// Standard output. Whoever closes the pipe has seen enough: that is no error.
pub(super) struct Output {
    closed: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { closed: false }
    }

    /// The same with styles where they are wanted.
    pub(super) fn styled(self) -> anstream::AutoStream<Box<dyn Write>> {
        anstream::AutoStream::new(Box::new(self), colours())
    }

    fn heed(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// Asks what only closing standard output tells: a network file system may say then that it is over quota (close(2)).
pub(super) fn close_output() -> io::Result<()> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(again) => match nix::unistd::close(again) {
            Err(nix::errno::Errno::EPIPE) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Err(_) => Ok(()), // closed by who called us, or no descriptor is left
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        PRINTED.store(true, Ordering::Relaxed);
        if !self.closed {
            let written = io::stdout().lock().write_all(bytes);
            self.heed(written)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = io::stdout().lock().flush();
        self.heed(flushed)
    }
}

/// Says what the user should know, unless nothing is to be said.
pub(super) fn warn_unless(quiet: bool, text: &str) {
    if !quiet {
        warn(text);
    }
}

/// A path of a journal, harmless on a terminal.
pub(super) fn shown(path: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(path))
}

//! Questions on the terminal.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often a signal is looked for while a question waits, in milliseconds.
const TICK_MS: u16 = 100;

/// Asks on the terminal; a signal is a no.
pub(super) fn ask(question: &str, stopped: &dyn Fn() -> bool) -> bool {
    let _ = write!(io::stderr().lock(), "{question}"); // where standard error is gone, nobody listens
    let stdin = io::stdin();
    loop {
        if stopped() {
            let _ = writeln!(io::stderr().lock());
            return false;
        }
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(TICK_MS)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            _ => break,
        }
    }
    let mut answer = String::new();
    stdin.read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
}

//! What the tests need beside a server: what nbdkit can do here, a port, and what a server was asked for.

use std::{fs, net::TcpListener, path::Path, process::Command};

pub use super::support::nbd_server::Server;
use super::support::{needs, tool_path};

/// A TCP port that nobody listens on right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Whether nbdkit is here with these plugins and filters (`file-plugin`, `log-filter`); says aloud where not.
pub fn have_nbdkit<const N: usize>(parts: [&str; N]) -> bool {
    if !super::have_libnbd() || !needs("nbdkit") {
        return false;
    }
    parts.into_iter().all(|part| {
        let (name, kind) = part.rsplit_once('-').expect("plugin or filter");
        let mut command = Command::new(tool_path("nbdkit").expect("just found"));
        match kind {
            "filter" => command.args([&format!("--filter={name}"), "null", "--dump-plugin"]),
            _ => command.args([name, "--dump-plugin"]),
        };
        command.output().is_ok_and(|output| output.status.success()) || super::support::skip(&format!("nbdkit's {part} is not installed"))
    })
}

/// One read as nbdkit's log filter tells it: when it came and when it was answered, as lines of the log, and what it was for.
#[derive(Debug)]
pub struct LoggedRead {
    pub begun: usize,
    pub done: usize,
    pub offset: u64,
    pub length: u64,
}

/// The reads in a log of nbdkit's log filter (`nbdkit-log-filter(1)`). The server must have stopped.
pub fn logged_reads(log: &Path) -> Vec<LoggedRead> {
    let text = fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    let word = |line: &str, key: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or_else(|| panic!("no {key} in {line}"));
        found.to_owned()
    };
    let number = |line: &str, key: &str| {
        let found = word(line, key);
        u64::from_str_radix(found.trim_start_matches("0x"), 16).unwrap_or_else(|error| panic!("{found}: {error}"))
    };
    let begins = lines.iter().enumerate().filter(|(_, line)| line.contains(" Read id="));
    begins
        .map(|(begun, line)| {
            let whose = [word(line, "connection="), format!("...Read id={}", word(line, "id="))];
            let ends = |other: &&str| other.contains(&format!("connection={} ", whose[0])) && other.contains(&format!("{} ", whose[1]));
            let done = lines.iter().position(ends).unwrap_or(lines.len());
            LoggedRead { begun, done, offset: number(line, "offset="), length: number(line, "count=") }
        })
        .collect()
}

/// The most reads that were in flight at one moment.
pub fn most_in_flight(reads: &[LoggedRead]) -> usize {
    reads.iter().map(|read| reads.iter().filter(|other| (other.begun..other.done).contains(&read.begun)).count()).max().unwrap_or(0)
}

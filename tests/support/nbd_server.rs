//! Real NBD servers, qemu-nbd and nbdkit; they end with the test, even on panic.

use std::{
    fs,
    io::{Read, Seek},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Lab, tool_path};

/// Longest that a server may take to be there.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that runs until it is stopped or dropped.
pub struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// qemu-nbd, for any number of clients one after the other or together: `Server::qemu_nbd(&lab, "a", ["-r", "-f", "raw", "a.img"])`.
    pub fn qemu_nbd<'a>(lab: &Lab, name: &str, words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::qemu_nbd_at(socket_of(lab, name), lab, words)
    }

    /// As [`qemu_nbd`](Self::qemu_nbd), with its socket in any place.
    pub fn qemu_nbd_at<'a>(socket: PathBuf, lab: &Lab, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(tool_path("qemu-nbd").expect("looked for before"));
        command.current_dir(lab.folder()).args(["-t", "-e", "0", "-k"]).arg(&socket).args(words);
        Self::start(command, socket)
    }

    /// nbdkit: `Server::nbdkit(&lab, "a", ["--filter=log", "file", "a.img", "logfile=a.log"])`.
    pub fn nbdkit<'a>(lab: &Lab, name: &str, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(tool_path("nbdkit").expect("looked for before"));
        let socket = socket_of(lab, name);
        command.current_dir(lab.folder()).args(["-f", "-U"]).arg(&socket).args(words);
        Self::start(command, socket)
    }

    /// nbdkit that serves one raw file.
    pub fn file(lab: &Lab, name: &str, file: &Path) -> Self {
        Self::nbdkit(lab, name, ["file", file.to_str().expect("a plain name")])
    }

    fn start(mut command: Command, socket: PathBuf) -> Self {
        // Not in the lab's folder: tests look there for what quorum-img wrote.
        let mut said = tempfile::tempfile().expect("a temporary file");
        let log = said.try_clone().expect("a second descriptor");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Self { child, socket };
        let begun = Instant::now();
        // Both listen with a queue, and a client that goes at once is none of their worries.
        while UnixStream::connect(&server.socket).is_err() {
            let ended = server.child.try_wait().expect("our own child");
            if ended.is_some() || begun.elapsed() > START_LIMIT {
                let mut words = String::new();
                let _ = said.rewind().and_then(|()| said.read_to_string(&mut words)); // the more is said, the better
                panic!("{command:?} isn't there: {ended:?} {words}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// The address of its default export.
    pub fn uri(&self) -> String {
        self.export("")
    }

    /// The address of an export by name.
    pub fn export(&self, name: &str) -> String {
        format!("nbd+unix:///{name}?socket={}", self.socket.display())
    }

    /// The address of its default export over TLS, by a key that is shared beforehand.
    pub fn uri_by_key(&self, user: &str, keys: &Path) -> String {
        format!("nbds+unix://{user}@/?socket={}&tls-psk-file={}", self.socket.display(), keys.display())
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Ends it as an administrator would, so that its logs are complete.
    pub fn stop(mut self) {
        // The shell's own, for a machine without procps.
        let asked = Command::new("sh").args(["-c", &format!("kill -s TERM {}", self.child.id())]).status();
        assert!(asked.is_ok_and(|status| status.success()), "the server is there");
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < START_LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a power cut would; the socket's name goes too, so that it can start anew.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill(); // fails where it has ended already
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn socket_of(lab: &Lab, name: &str) -> PathBuf {
    lab.path(format!("{name}.sock"))
}

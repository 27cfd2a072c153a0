//! Running a program, and telling all of it when something is wrong.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{File, Permissions},
    io::Read,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::lead_on;

/// Longest that a run may take unless it sets its own limit: a hang is a failure, not a wait.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// A command line in the making.
#[must_use = "nothing runs before `exits`, `output` or `start`"]
pub struct Run {
    command: Command,
    // Needed until it runs.
    copy: Option<TempDir>,
    stdout: Option<File>,
    time_limit: Duration,
}

impl Run {
    /// Will run `program` in `folder`, with nothing on standard input.
    pub fn new(program: &OsStr, folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
        // Nothing of the caller's terminal may leak into what tests compare.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "COLUMNS"] {
            command.env_remove(name);
        }
        Self { command, copy: None, stdout: None, time_limit: TIME_LIMIT }
    }

    /// Adds arguments.
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Adds one argument.
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts in another folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Where standard output goes, instead of into the [`Output`].
    pub fn stdout_to(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Runs it as the user with this number (only root can).
    pub fn by_user(mut self, number: u32) -> Self {
        let program = Path::new(self.command.get_program()).to_owned();
        let looked = Command::new("test").arg("-x").arg(&program).uid(number).gid(number).status();
        if !looked.expect("test is everywhere").success() {
            // It was built where that user doesn't get, in root's home for instance.
            let mode = Permissions::from_mode(0o755);
            let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a temporary folder");
            let copy = folder.path().join(program.file_name().expect("a program"));
            // Not fs::copy: a child that another test forks meanwhile would have it open for writing (ETXTBSY).
            let copied = Command::new("cp").args([&program, &copy]).status();
            assert!(copied.expect("cp is everywhere").success(), "{} can't be copied", program.display());
            self = self.behind(Command::new(copy));
            self.copy = Some(folder);
        }
        self.command.uid(number).gid(number);
        self
    }

    /// Fails the test where the run takes longer.
    pub fn within(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Runs the same command line by another program's leave: `run.under(["prlimit", "--fsize=1000"])` (which must end by running
    /// what follows its own arguments).
    pub fn under<I>(self, wrapper: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut words = wrapper.into_iter().map(Into::into);
        let mut command = Command::new(words.next().expect("the wrapper's name"));
        command.args(words).arg(self.command.get_program());
        self.behind(command)
    }

    /// The same arguments, folder and environment, for what this command begins.
    fn behind(self, mut command: Command) -> Self {
        command.args(self.command.get_args()).stdin(Stdio::null());
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command, ..self }
    }

    /// Runs it to its end, whatever that is.
    pub fn output(self) -> Output {
        self.start().wait()
    }

    /// Runs it to its end and fails unless it exits with this code.
    pub fn exits(self, code: i32) -> Output {
        self.output().expect_code(code)
    }

    /// Starts it and leaves it running; it is killed when the [`Running`] goes out of scope.
    pub fn start(mut self) -> Running {
        let line = format!("{:?}", self.command);
        let ours = self.command.get_program() == env!("CARGO_BIN_EXE_quorum-img");
        let folder = self.command.get_current_dir().filter(|_| ours).map(Path::to_owned);
        self.command.stdout(self.stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Running { child, line, folder, stdout, stderr, deadline: Instant::now() + self.time_limit, time_limit: self.time_limit }
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes); // what came before an error is what there is
        bytes
    })
}

/// A run that goes on beside the test.
pub struct Running {
    child: Child,
    line: String,
    /// Where it runs, if it is quorum-img itself.
    folder: Option<PathBuf>,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
    deadline: Instant,
    time_limit: Duration,
}

impl Running {
    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{}: {name} can't be sent", self.line);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; fails the test at the time limit.
    pub fn wait(mut self) -> Output {
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break Some(status);
            }
            if Instant::now() >= self.deadline {
                let _ = self.child.kill(); // it may just have ended
                let _ = self.child.wait();
                break None;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        let all = |pipe: Option<thread::JoinHandle<Vec<u8>>>| pipe.map_or_else(Vec::new, |pipe| pipe.join().expect("a reader"));
        let (stdout, stderr) = (all(self.stdout.take()), all(self.stderr.take()));
        let line = std::mem::take(&mut self.line);
        let output = Output { line, status, stdout, stderr };
        assert!(status.is_some(), "was not done after {:?}, and was killed\n{output}", self.time_limit);
        if let Some(folder) = &self.folder {
            lead_on::follow(folder, &output);
        }
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails where it has ended, as it should
        let _ = self.child.wait();
    }
}

/// What a run left behind. Shown, it is the command, its exit code, its standard output and its standard error in full.
pub struct Output {
    line: String,
    /// None where we had to end it.
    status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// The exit code; none where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{self}"))
    }

    /// Standard output as one JSON document a line.
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {line}: {error}\n{self}"));
        self.stdout().lines().map(parse).collect()
    }

    /// Fails unless the exit code is this one.
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Fails unless standard output holds `text`, whatever the case of its letters.
    pub fn says(&self, text: &str) -> &Self {
        assert!(holds(&self.stdout(), text), "standard output should say {text:?}\n{self}");
        self
    }

    /// Fails where standard output holds `text`, whatever the case of its letters.
    pub fn says_nothing_of(&self, text: &str) -> &Self {
        assert!(!holds(&self.stdout(), text), "standard output should not say {text:?}\n{self}");
        self
    }

    /// Fails unless standard error holds `text`, whatever the case of its letters.
    pub fn complains(&self, text: &str) -> &Self {
        assert!(holds(&self.stderr(), text), "standard error should say {text:?}\n{self}");
        self
    }
}

fn holds(all: &str, text: &str) -> bool {
    all.to_lowercase().contains(&text.to_lowercase())
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = match self.status {
            None => "did not end by itself".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
            },
        };
        writeln!(f, "command: {}\n{ended}", self.line)?;
        writeln!(f, "--- standard output\n{}\n--- standard error\n{}\n---", self.stdout(), self.stderr())
    }
}

//! Files whose bytes come from a server that may never answer. Once somebody looks after it ([`guard`]), calls to them are made by threads of
//! their own: who waits for what can be seen, and a call can be given up. Its thread stays where it is, in the kernel.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

use super::{
    buffer::Buffer,
    direct,
    locks::{Bytes, retake},
    prefetch,
    storage::Storage,
};

/// Whether calls can be given up.
static GUARDED: AtomicBool = AtomicBool::new(false);
/// Threads that have nothing to do, kept for the next calls, and buffers likewise.
const IDLE_MAX: usize = 64;
const BUFFERS_MAX: usize = 16;

type Work = Box<dyn FnOnce() + Send>;

/// Who waits, and who could work.
struct Desk {
    next: u64,
    waiting: BTreeMap<u64, Call>,
    idle: Vec<Sender<Work>>,
    buffers: Vec<Buffer>,
}

struct Call {
    who: Arc<str>,
    what: &'static str,
    give_up: Box<dyn Fn(&str) + Send>,
}

static DESK: Mutex<Desk> = Mutex::new(Desk { next: 0, waiting: BTreeMap::new(), idle: Vec::new(), buffers: Vec::new() });

fn desk() -> MutexGuard<'static, Desk> {
    DESK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that hasn't been answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number; none comes twice.
    pub id: u64,
    /// Whose answer is waited for.
    pub who: Arc<str>,
    /// What is done meanwhile: `reading`, for instance.
    pub what: &'static str,
}

/// From now on calls to servers can be given up; whoever says so looks at [`waiting`] from time to time.
pub fn guard() {
    GUARDED.store(true, Ordering::Relaxed);
}

/// The calls that are under way.
#[must_use]
pub fn waiting() -> Vec<Waiting> {
    desk().waiting.iter().map(|(&id, call)| Waiting { id, who: Arc::clone(&call.who), what: call.what }).collect()
}

/// Lets the one who waits for that call go on, with `why` as its error; nothing where it was answered meanwhile.
pub fn give_up(id: u64, why: &str) {
    if let Some(call) = desk().waiting.get(&id) {
        (call.give_up)(why);
    }
}

/// Where an answer is put.
struct Slot<T> {
    answer: Mutex<Option<Result<T, String>>>,
    arrived: Condvar,
}

impl<T> Slot<T> {
    /// The first answer counts.
    fn put(&self, answer: Result<T, String>) {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
        self.arrived.notify_all();
    }

    fn wait(&self) -> Result<T, String> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match answer.take() {
                Some(answer) => return answer,
                None => answer = self.arrived.wait(answer).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Answers even where the work panics.
struct Answering<T>(Arc<Slot<T>>);

impl<T> Drop for Answering<T> {
    fn drop(&mut self) {
        self.0.put(Err("the call came to nothing".to_owned()));
    }
}

/// Makes a call that may never end, for `who`.
///
/// # Errors
/// Why it was given up.
pub fn call<T: Send + 'static>(who: &Arc<str>, what: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    if !GUARDED.load(Ordering::Relaxed) {
        return Ok(work());
    }
    let slot = Arc::new(Slot { answer: Mutex::new(None), arrived: Condvar::new() });
    let (answering, giving_up) = (Answering(Arc::clone(&slot)), Arc::clone(&slot));
    let work: Work = Box::new(move || answering.0.put(Ok(work())));
    let id = {
        let mut desk = desk();
        desk.next += 1;
        let id = desk.next;
        let give_up = Box::new(move |why: &str| giving_up.put(Err(why.to_owned())));
        desk.waiting.insert(id, Call { who: Arc::clone(who), what, give_up });
        id
    };
    employ(work);
    let answer = slot.wait();
    desk().waiting.remove(&id);
    answer
}

/// Has it done by a thread that has nothing else to do.
fn employ(mut work: Work) {
    loop {
        let Some(idle) = desk().idle.pop() else { break };
        match idle.send(work) {
            Ok(()) => return,
            Err(gone) => work = gone.0,
        }
    }
    let (sender, receiver) = channel::<Work>();
    let again = sender.clone();
    let serve = move || {
        for work in receiver {
            work();
            let mut desk = desk();
            if desk.idle.len() >= IDLE_MAX {
                break;
            }
            desk.idle.push(again.clone());
        }
    };
    match thread::Builder::new().name("server".into()).spawn(serve) {
        Ok(_) => drop(sender.send(work)), // the receiver waits for it
        Err(_) => work(),                 // no thread is to be had: then it can't be given up
    }
}

/// Whom a file's bytes come from.
#[derive(Debug)]
pub struct Server {
    who: Arc<str>,
    /// Why it isn't asked any more.
    silent: OnceLock<String>,
    /// The locks that are held of the file, which it may take away: by each descriptor that reads or writes.
    locks: OnceLock<Bytes>,
}

impl Server {
    /// The one behind the member of that name.
    #[must_use]
    pub fn behind(who: Arc<str>) -> Arc<Self> {
        Arc::new(Self { who, silent: OnceLock::new(), locks: OnceLock::new() })
    }

    /// From now on it isn't asked any more, nor waited for when its files are closed; the first reason counts.
    pub fn fall_silent(&self, why: &str) {
        let _ = self.silent.set(why.to_owned());
    }

    /// Why it isn't asked any more; none as long as it answers.
    #[must_use]
    pub fn silent(&self) -> Option<&str> {
        self.silent.get().map(String::as_str)
    }
}

/// An open file, and whom its bytes come from. It is closed, too, without waiting for one who doesn't answer.
pub struct ServedFile {
    file: Option<Arc<File>>,
    server: Option<Arc<Server>>,
}

impl ServedFile {
    /// `file`, whose bytes come from `server`; none: from this machine.
    #[must_use]
    pub fn new(file: File, server: Option<Arc<Server>>) -> Self {
        Self { file: Some(Arc::new(file)), server }
    }

    /// Another descriptor of the same file.
    #[must_use]
    pub fn another(&self, file: File) -> Self {
        Self::new(file, self.server.clone())
    }

    /// Its server, where calls to it can be given up.
    fn guarded(&self) -> Option<&Arc<Server>> {
        self.server.as_ref().filter(|_| GUARDED.load(Ordering::Relaxed))
    }

    fn shared(&self) -> &Arc<File> {
        self.file.as_ref().expect("it is there until it is dropped")
    }

    /// The file, for calls that no server has to answer.
    #[must_use]
    pub fn file(&self) -> &File {
        self.shared()
    }

    /// Whom its bytes come from.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    /// Makes a call that its server has to answer.
    ///
    /// # Errors
    /// What the system says, or why it was given up (`TimedOut`).
    pub fn ask<T: Send + 'static>(&self, what: &'static str, work: impl FnOnce(&File) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let Some(server) = self.guarded() else { return work(self.file()) };
        let given_up = |why: &str| io::Error::new(io::ErrorKind::TimedOut, why.to_owned());
        if let Some(why) = server.silent() {
            return Err(given_up(why));
        }
        let file = Arc::clone(self.shared());
        call(&server.who, what, move || work(&file)).unwrap_or_else(|why| {
            server.fall_silent(&why);
            Err(given_up(server.silent().unwrap_or_default()))
        })
    }

    /// Takes note of the locks that it holds; a file of this machine keeps its own.
    pub fn hold(&self, bytes: Bytes) {
        if let Some(server) = &self.server {
            let _ = server.locks.set(bytes); // they are taken once
        }
    }

    /// The locks that its server may take away.
    fn locks(&self) -> Option<Bytes> {
        self.server.as_ref()?.locks.get().copied()
    }

    /// Whether there are locks that its server may take away.
    #[must_use]
    pub fn has_locks_to_lose(&self) -> bool {
        self.locks().is_some()
    }

    /// Takes the locks that another descriptor of the same file holds, so that a server that takes them away stops this one, too; false where
    /// they can't be had.
    #[must_use]
    pub fn takes_locks(&self) -> bool {
        self.locks().is_none_or(|bytes| self.ask("locking", move |file| retake(file, bytes)).unwrap_or(false))
    }

    /// What became of its locks, where a server may have taken them away, as one does that was out of reach for longer than their lease; also
    /// where they could be had again, since another one may have written meanwhile.
    #[must_use]
    pub fn lost_locks(&self) -> Option<String> {
        let bytes = self.locks()?;
        let looked = self.ask("locking", move |file| {
            // By a descriptor whose locks are lost nothing can be read (Linux' client of NFS version 4), until they are taken again.
            let dead = asks_for_first_byte(file).is_err_and(|error| error.raw_os_error() == Some(libc::EIO));
            if !retake(file, bytes)? {
                return Ok(Some("another program has taken its own meanwhile"));
            }
            Ok((dead && asks_for_first_byte(file).is_ok()).then_some("its server had given them up meanwhile"))
        });
        match looked {
            Ok(lost) => lost.map(|how| format!("its locks were lost: {how}")),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Some(error.to_string()), // nobody answers: of locks nothing is known
            Err(error) => Some(format!("its locks were lost: {error}")),
        }
    }

    /// Reads from `offset` on, past the page cache in units of so many bytes where `unit` is given (then the file is open for that); less only
    /// at the end.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn read(&self, unit: Option<usize>, offset: u64, bytes: &mut [u8], bounce: &mut Option<Buffer>) -> io::Result<usize> {
        let read = move |file: &File, bytes: &mut [u8], bounce: &mut Option<Buffer>| match unit {
            Some(unit) => direct::read(file, unit, offset, bytes, bounce),
            None => Storage::read(file, offset, bytes),
        };
        if self.guarded().is_none() {
            return read(self.file(), bytes, bounce);
        }
        let length = bytes.len();
        let kept = desk().buffers.pop().filter(|kept| kept.len() >= length);
        let mut buffer = kept.unwrap_or_else(|| Buffer::new(length.max(1 << 20)));
        let (held, buffer) = self.ask("reading", move |file| {
            let held = read(file, &mut buffer[..length], &mut None)?;
            Ok((held, buffer))
        })?;
        bytes[..held].copy_from_slice(&buffer[..held]);
        let mut desk = desk();
        if desk.buffers.len() < BUFFERS_MAX {
            desk.buffers.push(buffer);
        }
        Ok(held)
    }

    /// Writes all of `bytes` at `offset`, by way of the page cache.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.guarded().is_none() {
            return Storage::write(self.file(), offset, bytes);
        }
        let bytes = bytes.to_vec();
        self.ask("writing", move |file| Storage::write(file, offset, &bytes))
    }
}

/// Has the server asked for the file's first byte, whatever this machine remembers of it.
fn asks_for_first_byte(file: &File) -> io::Result<()> {
    prefetch::forget(file, 0..1);
    Storage::read(file, 0, &mut [0]).map(drop)
}

impl Drop for ServedFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let Some(server) = self.guarded() else { return };
        if server.silent().is_some() {
            std::mem::forget(file); // closing it would wait, too; the process's end closes it
        } else if call(&server.who, "closing", move || drop(file)).is_err() {
            server.fall_silent("it didn't answer when it was closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io,
        sync::{Arc, mpsc::channel},
        thread,
    };

    use super::{ServedFile, Server, call, give_up, guard, waiting};

    fn file() -> File {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(10_000).expect("it can grow");
        file
    }

    #[test]
    fn a_call_that_is_never_answered_can_be_given_up() {
        guard();
        let (answer, question) = channel::<()>();
        let silent = ServedFile::new(file(), Some(Server::behind("silent".into())));
        let lookout = thread::spawn(|| {
            loop {
                match waiting().iter().find(|call| &*call.who == "silent") {
                    Some(call) => return give_up(call.id, "no answer for 1 s"),
                    None => thread::yield_now(),
                }
            }
        });
        let waited = silent.ask("reading", move |_| question.recv().map_err(io::Error::other));
        lookout.join().expect("it ends");
        let error = waited.expect_err("nobody answered");
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::TimedOut, "no answer for 1 s".to_owned()));
        // It isn't asked again, nor waited for when it is closed.
        let again = silent.ask("reading", |_| -> io::Result<()> { unreachable!("it isn't asked") });
        assert_eq!(again.expect_err("it is silent").to_string(), "no answer for 1 s");
        drop(silent);
        drop(answer);
    }

    #[test]
    fn others_are_read_as_ever() {
        guard();
        let served = ServedFile::new(file(), Some(Server::behind("other".into())));
        let mut bytes = vec![7; 20_000];
        assert_eq!(served.read(None, 100, &mut bytes, &mut None).expect("it can be read"), 9900);
        assert!(bytes[..9900].iter().all(|&byte| byte == 0) && bytes[9900..].iter().all(|&byte| byte == 7));
        assert_eq!(call(&Arc::from("anybody"), "counting", || 6 * 7), Ok(42));
        assert!(!waiting().iter().any(|call| &*call.who == "anybody"));
    }

    #[test]
    fn work_that_panics_is_answered() {
        guard();
        let panics = || -> () { panic!("on purpose") };
        assert!(call(&Arc::from("nobody"), "panicking", panics).is_err());
    }
}

//! Reads of an export in flight, over its own connection and over others where the server allows several.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::link::{Link, as_io};
use crate::{
    member::ahead::{BLOCKS_MAX, Transport},
    sys::{buffer::Buffer, libnbd::Connection, ring::Done},
};

/// A read that waits for a connection.
struct Request {
    offset: u64,
    length: usize,
    buffer: Buffer,
    token: u64,
}

type Requests = Arc<Mutex<Receiver<Request>>>;

/// Threads that read, each over a connection. They end with this; one whose server doesn't answer any more ends when that is given up.
pub(super) struct Lines {
    requests: Sender<Request>,
    done: Receiver<Done>,
    in_flight: usize,
}

impl Lines {
    /// Over the link's own connection, and over others, so many in all. Whoever gets none, leaves the work to the others.
    pub(super) fn new(link: &Arc<Link>, connections: usize) -> Self {
        let (requests, waiting) = channel();
        let (sender, done) = channel();
        let waiting: Requests = Arc::new(Mutex::new(waiting));
        for number in 0..connections {
            let (link, waiting, sender) = (Arc::clone(link), Arc::clone(&waiting), sender.clone());
            let serve = move || if number == 0 { over_its_own(&link, &waiting, &sender) } else { over_another(&link, &waiting, &sender) };
            let _ = thread::Builder::new().name(format!("nbd-{number}")).spawn(serve); // fewer do it as well
        }
        Self { requests, done, in_flight: 0 }
    }
}

impl Transport for Lines {
    fn room(&self) -> usize {
        BLOCKS_MAX - self.in_flight
    }

    fn start(&mut self, reads: Vec<(u64, usize, Buffer, u64)>) {
        for (offset, length, buffer, token) in reads {
            if self.requests.send(Request { offset, length, buffer, token }).is_ok() {
                self.in_flight += 1;
            }
        }
    }

    fn wait(&mut self) -> Option<Done> {
        if self.in_flight == 0 {
            return None;
        }
        let done = self.done.recv().ok()?; // nobody is left who could bring it
        self.in_flight -= 1;
        Some(done)
    }
}

/// The next one that waits; none where nobody asks any more.
fn next(requests: &Requests) -> Option<Request> {
    requests.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Does one, as far as the export reaches.
fn read(link: &Link, mut request: Request, by: impl FnOnce(u64, &mut [u8]) -> io::Result<()>) -> Done {
    let held = link.export.size.saturating_sub(request.offset).min(request.length as u64) as usize;
    let read = by(request.offset, &mut request.buffer[..held]).map(|()| held);
    Done { token: request.token, buffer: request.buffer, read }
}

fn over_its_own(link: &Link, requests: &Requests, done: &Sender<Done>) {
    while let Some(request) = next(requests) {
        let by = |offset, bytes: &mut [u8]| link.read_units(offset, bytes).map_err(as_io);
        if done.send(read(link, request, by)).is_err() {
            return;
        }
    }
}

/// A connection that is lost isn't made anew: what it was to read is read over the link's own one.
fn over_another(link: &Link, requests: &Requests, done: &Sender<Done>) {
    // A server may let no more of them in than it has: it is asked before there is any work to wait for.
    let Ok(mut connection) = Connection::open(&link.uri, &link.stop) else { return };
    if connection.export() != link.export {
        return;
    }
    while let Some(request) = next(requests) {
        let by = |offset, bytes: &mut [u8]| {
            connection.read(offset, bytes, link.piece.load(Ordering::Relaxed)).map_err(|error| io::Error::other(error.to_string()))
        };
        let answer = read(link, request, by);
        let failed = answer.read.is_err();
        if done.send(answer).is_err() || failed {
            return;
        }
    }
}

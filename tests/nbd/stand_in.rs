//! An NBD server of the test's own, for what no real one does on command: it drops connections, falls silent, lies, keeps count.
//!
//! After NBD's doc/proto.md: fixed newstyle, simple and structured replies, `base:allocation`.

use std::{
    collections::BTreeSet,
    fs, io,
    io::{Read, Write},
    net::Shutdown,
    ops::Range,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use super::support::Lab;

/// What the server makes of a request.
pub enum Answer {
    /// Does as it is asked.
    Yes,
    /// Does it, but later.
    Later(Duration),
    /// This error number.
    Error(u32),
    /// Closes the connection.
    Drop,
    /// Says nothing, ever, and keeps the connection.
    Silence,
    /// Closes the connection and all others, and listens no more.
    Die,
    /// These very bytes instead of a reply.
    Raw(Vec<u8>),
    /// To a read: the structured chunks that this makes of the right ones.
    Chunks(fn(Vec<Chunk>) -> Vec<Chunk>),
}

/// A piece of a structured reply to a read.
#[derive(Clone)]
pub enum Chunk {
    Data(u64, Vec<u8>),
    Hole(u64, u32),
    /// "No more": the last one's flag without any content.
    Done,
}

/// What kind of server it is.
#[derive(Clone)]
pub struct Kind {
    pub structured: bool,
    pub can_df: bool,
    /// `base:allocation`.
    pub block_status: bool,
    pub read_only: bool,
    pub can_flush: bool,
    pub can_fua: bool,
    /// Minimum, preferred and maximum, where it says.
    pub block_sizes: Option<[u32; 3]>,
}

/// Everything that a modern server offers.
pub const MODERN: Kind =
    Kind { structured: true, can_df: true, block_status: true, read_only: false, can_flush: true, can_fua: true, block_sizes: None };
/// A server of the old days: no structured replies, and so nothing that needs them.
pub const SIMPLE: Kind = Kind { structured: false, can_df: false, block_status: false, ..MODERN };

/// The commands that tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Read,
    Write,
    Flush,
    Status,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub command: Command,
    pub range: Range<u64>,
    /// "Don't fragment".
    pub df: bool,
    /// "Force unit access".
    pub fua: bool,
    /// On which connection, counted from 1.
    pub connection: usize,
    /// How many reads came before it, over all connections.
    pub reads_before: usize,
}

impl Request {
    pub fn touches(&self, range: &Range<u64>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }

    pub fn reads(&self, range: &Range<u64>) -> bool {
        self.command == Command::Read && self.touches(range)
    }
}

type Decide = dyn Fn(&Request) -> Answer + Send + Sync;
type Status = dyn Fn(Range<u64>) -> Vec<(u32, u32)> + Send + Sync;

/// What the server knows and remembers.
#[derive(Default)]
pub struct State {
    pub bytes: Vec<u8>,
    /// The export's size on later connections, where it changes.
    pub size_later: Option<u64>,
    pub requests: Vec<Request>,
    pub connections: usize,
    reads: usize,
    pub most_in_flight: usize,
    in_flight: usize,
    dead: bool,
    streams: Vec<UnixStream>,
}

struct Shared {
    kind: Kind,
    socket: PathBuf,
    decide: Box<Decide>,
    status: Box<Status>,
    state: Mutex<State>,
}

/// The server; it ends when dropped.
pub struct StandIn {
    shared: Arc<Shared>,
}

impl StandIn {
    /// Serves `bytes`, as `decide` says.
    pub fn new(lab: &Lab, name: &str, kind: Kind, bytes: &[u8], decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::telling(lab, name, kind, bytes, decide, |range| vec![((range.end - range.start) as u32, 0)])
    }

    /// As [`StandIn::new`]; `status` tells lengths and flags for a range (1: hole, 2: zeros).
    pub fn telling(
        lab: &Lab,
        name: &str,
        kind: Kind,
        bytes: &[u8],
        decide: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        status: impl Fn(Range<u64>) -> Vec<(u32, u32)> + Send + Sync + 'static,
    ) -> Self {
        let socket = lab.path(format!("{name}.sock"));
        let listener = UnixListener::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let state = Mutex::new(State { bytes: bytes.to_vec(), ..State::default() });
        let shared = Arc::new(Shared { kind, socket, decide: Box::new(decide), status: Box::new(status), state });
        let server = Self { shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = {
                    let mut state = shared.state();
                    if state.dead {
                        break;
                    }
                    state.connections += 1;
                    state.streams.push(stream.try_clone().expect("a second descriptor"));
                    state.connections
                };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = shared.serve(&stream, number); // a client that goes away is no fault
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        server
    }

    pub fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.shared.socket.display())
    }

    /// What it remembers.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// The ranges that were asked for, but for a look at where partition tables begin.
    pub fn reads(&self) -> Vec<Range<u64>> {
        let state = self.state();
        let reads = state.requests.iter().filter(|request| request.command == Command::Read).map(|request| request.range.clone());
        reads.filter(|read| !is_look_at_partitions(read.start, read.end - read.start, state.bytes.len() as u64)).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.die();
    }
}

// --- the protocol -----------------------------------------------------------------------------------------------------------

fn take<const N: usize>(mut stream: &UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

fn option_reply(mut stream: &UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let parts = [
        &0x0003_e889_0455_65a9_u64.to_be_bytes()[..],
        &option.to_be_bytes(),
        &kind.to_be_bytes(),
        &(data.len() as u32).to_be_bytes(),
        data,
    ];
    stream.write_all(&parts.concat())
}

/// A chunk's bytes: `kind` is its type, `done` whether it is the last one.
fn structured(done: bool, kind: u16, cookie: [u8; 8], content: &[u8]) -> Vec<u8> {
    let header = [&0x668e_33ef_u32.to_be_bytes()[..], &u16::from(done).to_be_bytes(), &kind.to_be_bytes(), &cookie];
    [&header.concat()[..], &(content.len() as u32).to_be_bytes(), content].concat()
}

fn simple(error: u32, cookie: [u8; 8], content: &[u8]) -> Vec<u8> {
    [&0x6744_6698_u32.to_be_bytes()[..], &error.to_be_bytes(), &cookie, content].concat()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    fn die(&self) {
        let mut state = self.state();
        state.dead = true;
        let _ = UnixStream::connect(&self.socket); // wakes the one that listens
        let _ = fs::remove_file(&self.socket);
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn size(&self, connection: usize) -> u64 {
        let state = self.state();
        let size = state.bytes.len() as u64;
        if connection > 1 { state.size_later.unwrap_or(size) } else { size }
    }

    fn serve(self: &Arc<Self>, stream: &UnixStream, connection: usize) -> io::Result<()> {
        let mut writer = stream;
        writer.write_all(&[&b"NBDMAGICIHAVEOPT"[..], &3_u16.to_be_bytes()].concat())?;
        take::<4>(stream)?;
        let mut agreed = false;
        loop {
            let head = take::<16>(stream)?;
            let (option, length) = (u32_at(&head, 8), u32_at(&head, 12));
            let mut data = vec![0; length as usize];
            (&mut &*stream).read_exact(&mut data)?;
            match option {
                2 => return option_reply(stream, option, 1, &[]),
                8 if self.kind.structured => {
                    agreed = true;
                    option_reply(stream, option, 1, &[])?;
                }
                10 if self.kind.block_status && agreed => {
                    option_reply(stream, option, 4, &[&7_u32.to_be_bytes()[..], b"base:allocation"].concat())?;
                    option_reply(stream, option, 1, &[])?;
                }
                6 | 7 => {
                    let named = u32_at(&data, 0);
                    if named != 0 {
                        option_reply(stream, option, 0x8000_0006, b"no such export")?;
                        continue;
                    }
                    let flags = self.flags(agreed).to_be_bytes();
                    option_reply(stream, option, 3, &[&[0, 0][..], &self.size(connection).to_be_bytes(), &flags].concat())?;
                    if let Some([minimum, preferred, maximum]) = self.kind.block_sizes {
                        let sizes = [minimum.to_be_bytes(), preferred.to_be_bytes(), maximum.to_be_bytes()].concat();
                        option_reply(stream, option, 3, &[&[0, 3][..], &sizes].concat())?;
                    }
                    option_reply(stream, option, 1, &[])?;
                    if option == 7 {
                        return self.transmit(stream, connection, agreed);
                    }
                }
                _ => option_reply(stream, option, 0x8000_0001, &[])?,
            }
        }
    }

    fn flags(&self, agreed: bool) -> u16 {
        let kind = &self.kind;
        let flags = [(true, 1), (kind.read_only, 2), (kind.can_flush, 4), (kind.can_fua, 8), (kind.can_df && agreed, 128)];
        flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).sum()
    }

    fn transmit(self: &Arc<Self>, stream: &UnixStream, connection: usize, agreed: bool) -> io::Result<()> {
        loop {
            let head = take::<28>(stream)?;
            let cookie: [u8; 8] = head[8..16].try_into().expect("eight bytes");
            let offset = u64::from_be_bytes(head[16..24].try_into().expect("eight bytes"));
            let length = u32_at(&head, 24);
            let command = match head[7] {
                0 => Command::Read,
                1 => Command::Write,
                3 => Command::Flush,
                7 => Command::Status,
                _ => return Ok(()),
            };
            let mut payload = vec![0; if command == Command::Write { length as usize } else { 0 }];
            (&mut &*stream).read_exact(&mut payload)?;
            let request = {
                let mut state = self.state();
                let reads_before = state.reads;
                state.reads += usize::from(command == Command::Read);
                let range = offset..offset + u64::from(length);
                let request = Request { command, range, df: head[5] & 4 != 0, fua: head[5] & 1 != 0, connection, reads_before };
                state.requests.push(request.clone());
                state.in_flight += 1;
                state.most_in_flight = state.most_in_flight.max(state.in_flight);
                request
            };
            let (shared, stream) = (Arc::clone(self), stream.try_clone()?);
            // Each request is answered in a thread of its own, so that a late answer keeps no other one waiting.
            thread::spawn(move || {
                let answer = (shared.decide)(&request);
                if let Answer::Later(pause) = answer {
                    thread::sleep(pause);
                }
                let reply = shared.reply(&request, &payload, answer, cookie, agreed);
                let mut state = shared.state();
                state.in_flight -= 1;
                match reply {
                    Some(bytes) => drop((&stream).write_all(&bytes)), // under the lock, so that replies don't mix
                    None => drop(stream.shutdown(Shutdown::Both)),
                }
            });
        }
    }

    /// The bytes to send; none where the connection ends.
    fn reply(&self, request: &Request, payload: &[u8], answer: Answer, cookie: [u8; 8], agreed: bool) -> Option<Vec<u8>> {
        let error = |number: u32| {
            let content = [&number.to_be_bytes()[..], &[0, 0]].concat();
            if agreed { structured(true, 0x8001, cookie, &content) } else { simple(number, cookie, &[]) }
        };
        let remake = match answer {
            Answer::Drop => return None,
            Answer::Die => {
                self.die();
                return None;
            }
            Answer::Silence => return Some(Vec::new()),
            Answer::Raw(bytes) => return Some(bytes),
            Answer::Error(number) => return Some(error(number)),
            Answer::Chunks(remake) => Some(remake),
            Answer::Yes | Answer::Later(_) => None,
        };
        let mut state = self.state();
        let place = request.range.start as usize..request.range.end as usize;
        if request.command != Command::Flush && place.end > state.bytes.len() {
            return Some(error(22));
        }
        Some(match request.command {
            Command::Write => {
                state.bytes[place].copy_from_slice(payload);
                simple(0, cookie, &[])
            }
            Command::Flush => simple(0, cookie, &[]),
            Command::Read if !agreed => simple(0, cookie, &state.bytes[place]),
            Command::Read => {
                let chunks = vec![Chunk::Data(request.range.start, state.bytes[place].to_vec())];
                let chunks = remake.map_or(chunks.clone(), |remake| remake(chunks));
                let last = chunks.len() - 1;
                let send = |(index, chunk)| match chunk {
                    Chunk::Data(offset, bytes) => structured(index == last, 1, cookie, &[&u64::to_be_bytes(offset)[..], &bytes].concat()),
                    Chunk::Hole(offset, length) => {
                        structured(index == last, 2, cookie, &[&u64::to_be_bytes(offset)[..], &u32::to_be_bytes(length)].concat())
                    }
                    Chunk::Done => structured(index == last, 0, cookie, &[]),
                };
                chunks.into_iter().enumerate().flat_map(send).collect()
            }
            Command::Status => {
                drop(state);
                let told = (self.status)(request.range.clone());
                let extents = told.iter().flat_map(|(length, flags)| [length.to_be_bytes(), flags.to_be_bytes()].concat());
                structured(true, 5, cookie, &[&7_u32.to_be_bytes()[..], &extents.collect::<Vec<u8>>()].concat())
            }
        })
    }
}

/// Does as it is asked.
pub fn honest(_: &Request) -> Answer {
    Answer::Yes
}

/// Whether this read is a look for what a disk says of itself: partition tables and superblocks lie near both ends, and btrfs has a copy at
/// 64 MiB. They are read in pieces of 4 KiB.
pub fn is_look_at_partitions(offset: u64, length: u64, size: u64) -> bool {
    let near = offset <= 128 << 10 || offset + (128 << 10) >= size || offset == 64 << 20;
    length <= 4096 && offset.is_multiple_of(4096) && near
}

/// The sectors of `ranges`, in order.
pub fn sectors_of(ranges: &[Range<u64>]) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| range.start / 512..range.end.div_ceil(512)).collect()
}

//! Where an export comes from, whatever address it was named by.

use std::{
    ffi::{CStr, OsString},
    fs,
    net::{SocketAddr, TcpStream},
    os::{
        fd::BorrowedFd,
        unix::{ffi::OsStringExt, fs::MetadataExt},
    },
};

use super::nbd_functions::{Functions, Handle};

/// A server, and an export of it: what two addresses have in common that lead to one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    server: Server,
    export: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    /// A socket in the file system: device and inode.
    Socket(u64, u64),
    /// Over the network. That two addresses are of one machine isn't known.
    Peer(SocketAddr),
}

/// Where the export of a live handle comes from that is connected to `uri`; none where the system doesn't tell.
pub(super) fn of(functions: &Functions, handle: Handle, uri: &str) -> Option<Origin> {
    let server = match socket_path(uri) {
        Some(path) => {
            let meta = fs::metadata(path).ok()?;
            Server::Socket(meta.dev(), meta.ino())
        }
        None => Server::Peer(peer(functions, handle)?),
    };
    Some(Origin { server, export: export_name(functions, handle)? })
}

/// Whom a live, connected handle is connected to.
fn peer(functions: &Functions, handle: Handle) -> Option<SocketAddr> {
    // SAFETY: the caller's handle is live.
    let number = unsafe { (functions.aio_get_fd)(handle) };
    if number < 0 {
        return None;
    }
    // SAFETY: the handle is connected: its socket stays open at least as long as the caller lends the handle.
    let socket = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().ok()?;
    let peer = TcpStream::from(socket).peer_addr().ok()?;
    Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}

/// The name as the server has it, or else as it was asked for.
fn export_name(functions: &Functions, handle: Handle) -> Option<Vec<u8>> {
    // SAFETY: the caller's handle is live, and both give null or a text that ends with zero and is the caller's to free
    // (nbd_get_export_name(3)); it is copied before.
    unsafe {
        let canonical = (functions.get_canonical_export_name)(handle);
        let text = if canonical.is_null() { (functions.get_export_name)(handle) } else { canonical };
        if text.is_null() {
            return None;
        }
        let name = CStr::from_ptr(text).to_bytes().to_vec();
        libc::free(text.cast());
        Some(name)
    }
}

/// The socket that an address names: `socket=PATH`, with `%XX` for bytes (NBD's doc/uri.md, "NBD URI query parameters").
fn socket_path(uri: &str) -> Option<OsString> {
    let (_, query) = uri.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("socket="))?;
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::socket_path;

    #[test]
    fn the_socket_is_the_one_that_the_address_names() {
        let path = |uri| socket_path(uri).map(|path| path.into_string().expect("UTF-8"));
        assert_eq!(path("nbd+unix:///x?socket=/run/a%20b.sock&tls-psk-file=/k"), Some("/run/a b.sock".into()));
        assert_eq!(path("nbd+unix://?tls-psk-file=/k&socket=/run/100%"), Some("/run/100%".into()));
        assert_eq!(path("nbd://host/socket=x"), None);
    }
}

//! Where an export comes from, whatever address it was named by.

use std::{
    ffi::CStr,
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
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
    /// Over the network; this machine is one, by whatever address.
    Peer(SocketAddr),
}

/// Where the export of a live, connected handle comes from; none where the system doesn't tell.
pub(super) fn of(functions: &Functions, handle: Handle) -> Option<Origin> {
    // SAFETY: the caller's handle is live.
    let number = unsafe { (functions.aio_get_fd)(handle) };
    if number < 0 {
        return None;
    }
    // SAFETY: the handle is connected: its socket stays open at least as long as the caller lends the handle.
    let socket = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().ok()?;
    Some(Origin { server: server(socket)?, export: export_name(functions, handle)? })
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

fn server(socket: OwnedFd) -> Option<Server> {
    let socket = UnixStream::from(socket);
    if let Ok(address) = socket.peer_addr() {
        let meta = fs::metadata(address.as_pathname()?).ok()?;
        return Some(Server::Socket(meta.dev(), meta.ino()));
    }
    let peer = TcpStream::from(OwnedFd::from(socket)).peer_addr().ok()?;
    let ip = peer.ip().to_canonical();
    let ip = if ip.is_loopback() { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { ip };
    Some(Server::Peer(SocketAddr::new(ip, peer.port())))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::{
            fs::symlink,
            net::{UnixListener, UnixStream},
        },
    };

    use super::server;

    #[test]
    fn a_server_is_known_by_any_of_its_addresses() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, link, other] = ["socket", "link", "other"].map(|name| folder.path().join(name));
        let _listener = UnixListener::bind(&path).expect("binds");
        let _stranger = UnixListener::bind(&other).expect("binds");
        symlink(&path, &link).expect("links");
        let unix = |path| server(UnixStream::connect(path).expect("connects").into());
        assert!(unix(&path).is_some());
        assert_eq!(unix(&path), unix(&link));
        assert_ne!(unix(&path), unix(&other));

        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let stranger = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let tcp = |host: &str, port| server(TcpStream::connect((host, port)).expect("connects").into());
        assert_eq!(tcp("127.0.0.1", port), tcp("localhost", port));
        assert_ne!(tcp("127.0.0.1", port), tcp("127.0.0.1", stranger.local_addr().expect("an address").port()));
    }
}

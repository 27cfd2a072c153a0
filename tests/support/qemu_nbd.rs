//! QEMU's own server as somebody who has an image open.

use tempfile::TempDir;

use super::{Lab, nbd_server::Server};

/// qemu-nbd with an image of a lab open; it is stopped when dropped.
// The server ends before its socket's folder goes.
pub struct Holder(Server, TempDir);

impl Holder {
    /// Opens the image as these options say.
    pub fn new(lab: &Lab, options: &[&str], image: &str) -> Self {
        // Not in the lab's folder: tests look there for what was written.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("nbd.sock");
        Self(Server::qemu_nbd_at(socket, lab, options.iter().copied().chain([image])), folder)
    }
}

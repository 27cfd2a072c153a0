//! QEMU's own server as somebody who has an image open.

use std::{
    env, fs,
    process::{self, Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Lab;

/// qemu-nbd with an image of a lab open; it is stopped when dropped.
pub struct Holder(Child);

impl Holder {
    /// Opens the image as these options say.
    pub fn new(lab: &Lab, options: &[&str], image: &str) -> Self {
        // Not in the lab's folder: tests look there for what was written.
        let socket = env::temp_dir().join(format!("quorum-img-{}-{:?}.sock", process::id(), thread::current().id()));
        let mut command = Command::new("qemu-nbd");
        command.current_dir(lab.folder()).args(["-t", "-k"]).arg(&socket).args(options).arg(image).stdin(Stdio::null());
        let holder = Self(command.spawn().expect("qemu-nbd starts"));
        let begun = Instant::now();
        while !socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "qemu-nbd doesn't serve");
            thread::sleep(Duration::from_millis(20));
        }
        fs::remove_file(&socket).expect("it is there");
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill(); // fails where it has ended
        let _ = self.0.wait();
    }
}

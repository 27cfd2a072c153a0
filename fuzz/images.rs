//! Images from bytes, shared by the targets.

#[path = "../tests/support/naive_qcow2.rs"]
mod naive_qcow2;
#[path = "../tests/support/qcow2_bytes.rs"]
mod qcow2_bytes;

#[allow(unused_imports)] // each target uses a part
pub use qcow2_bytes::with_header;

pub fn compare(bytes: &[u8]) {
    thread_local! {
        static FILE: std::fs::File = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).expect("a temporary file");
    }
    FILE.with(|file| qcow2_bytes::compare(file, bytes));
}

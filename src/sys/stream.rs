//! Storage read or written from one end to the other.

use std::io::{self, Read, Write};

use super::storage::Storage;

/// Goes through storage from its start.
pub struct Stream<'a> {
    storage: &'a dyn Storage,
    /// Bytes behind it.
    at: u64,
}

impl<'a> Stream<'a> {
    /// At the first byte.
    #[must_use]
    pub fn new(storage: &'a dyn Storage) -> Self {
        Self { storage, at: 0 }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.storage.read(self.at, bytes)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.storage.write(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Storage, Stream};

    #[test]
    fn what_was_written_is_read_in_order() {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut to = Stream::new(&file);
        to.write_all(b"one").expect("it can be written");
        to.write_all(b" after the other").expect("it can be written");
        assert_eq!(Storage::length(&file).expect("it has one"), 19);
        let mut text = String::new();
        Stream::new(&file).read_to_string(&mut text).expect("it can be read");
        assert_eq!(text, "one after the other");
    }
}

//! What the user's name for a member means.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// How a file's bytes become a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl Format {
    /// Whether the file holds the disk otherwise than byte for byte.
    #[must_use]
    pub fn is_encoded(self) -> bool {
        self != Self::Raw
    }

    /// As qemu-img names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A name taken apart: `raw:PATH`, `qcow2:PATH`, an NBD address, or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A file or a device.
    Path {
        /// Where.
        path: PathBuf,
        /// The format that the name itself states.
        format: Option<Format>,
    },
    /// An export of an NBD server, by its address.
    Nbd(String),
}

/// What NBD addresses begin with (NBD's doc/uri.md, "NBD URI components").
const NBD_SCHEMES: [&str; 6] = ["nbd://", "nbds://", "nbd+unix://", "nbds+unix://", "nbd+vsock://", "nbds+vsock://"];

/// An address, with its scheme in small letters: libnbd takes no others, and they mean the same (RFC 3986, 3.1).
fn nbd_address(text: &str) -> Option<String> {
    let starts = |scheme: &&str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = NBD_SCHEMES.into_iter().find(|scheme| starts(scheme))?;
    Some(format!("{scheme}{}", &text[scheme.len()..]))
}

impl Given {
    /// Takes a name apart; `./` keeps a file that is really called so.
    #[must_use]
    pub fn of(given: &OsStr) -> Self {
        let bytes = given.as_bytes();
        if let Some(uri) = given.to_str().and_then(nbd_address) {
            return Self::Nbd(uri);
        }
        for (prefix, format) in [(&b"raw:"[..], Format::Raw), (b"qcow2:", Format::Qcow2)] {
            if let Some(path) = bytes.strip_prefix(prefix) {
                return Self::Path { path: Path::new(OsStr::from_bytes(path)).to_owned(), format: Some(format) };
            }
        }
        Self::Path { path: Path::new(given).to_owned(), format: None }
    }

    /// The path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path { path, .. } => Some(path),
            Self::Nbd(_) => None,
        }
    }

    /// The format that the name itself states.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        match self {
            Self::Path { format, .. } => *format,
            Self::Nbd(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Given};

    #[test]
    fn prefixes_and_addresses_are_told_from_paths() {
        let path = |path: &str, format| Given::Path { path: path.into(), format };
        for (given, expected) in [
            ("a.img", path("a.img", None)),
            ("raw:a", path("a", Some(Format::Raw))),
            ("qcow2:/x/a", path("/x/a", Some(Format::Qcow2))),
            ("./raw:a", path("./raw:a", None)),
            ("raw:qcow2:a", path("qcow2:a", Some(Format::Raw))),
            ("nbd://host/x", Given::Nbd("nbd://host/x".into())),
            ("nbd+unix:///?socket=/s", Given::Nbd("nbd+unix:///?socket=/s".into())),
            ("nbd:x", path("nbd:x", None)),
        ] {
            assert_eq!(Given::of(given.as_ref()), expected, "{given}");
        }
    }
}

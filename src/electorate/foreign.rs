//! Formats that can't vote as they are, known by their first or last bytes; and how they come to vote.

use crate::member::{Member, escaped};

/// A format that only another program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What it is called.
    pub name: &'static str,
    way: Way,
}

/// What makes its bytes available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// qemu-nbd, by that format's name.
    QemuNbd(&'static str),
    /// A file is unpacked by that command.
    Unpack(&'static str),
    /// ewfmount shows it as a raw file.
    Ewf,
}

const fn image(name: &'static str) -> Foreign {
    Foreign { name, way: Way::QemuNbd(name) }
}

const fn packed(name: &'static str, command: &'static str) -> Foreign {
    Foreign { name, way: Way::Unpack(command) }
}

const VPC: Foreign = Foreign { name: "vhd", way: Way::QemuNbd("vpc") };
const E01: Foreign = Foreign { name: "E01", way: Way::Ewf };

/// By the bytes at an offset (QEMU, block/*.c: `*_probe`; RFC 1952 2.3.1; the xz file format 2.1.1.1; RFC 8878 3.1.1; libewf's EWF
/// specification).
const BEGINNINGS: [(usize, &[u8], Foreign); 14] = [
    (0, b"KDMV", image("vmdk")),
    (0, b"COWD", image("vmdk")),
    (0, b"# Disk DescriptorFile", image("vmdk")),
    (64, b"\x7f\x10\xda\xbe", image("vdi")),
    (0, b"vhdxfile", image("vhdx")),
    (0, b"conectix", VPC),
    (0, b"QED\0", image("qed")),
    (0, b"WithoutFreeSpace", image("parallels")),
    (0, b"WithouFreSpacExt", image("parallels")),
    (0, b"EVF\x09\x0d\x0a\xff\x00", E01),
    (0, b"EVF2\x0d\x0a\x81\x00", E01),
    (0, b"\x1f\x8b\x08", packed("gz", "gunzip -k")),
    (0, b"\xfd7zXZ\0", packed("xz", "unxz -k")),
    (0, b"\x28\xb5\x2f\xfd", packed("zst", "unzstd")),
];

/// Bytes looked at, at both ends.
const HEAD_BYTES: usize = 512;

/// By the bytes at the start of the last 512.
const ENDS: [(&[u8], Foreign); 2] = [(b"conectix", VPC), (b"koly", image("dmg"))];

/// Names of formats that `-f` is asked for and doesn't know.
#[must_use]
pub fn foreign_of_name(name: &str) -> Option<Foreign> {
    let all = BEGINNINGS.iter().map(|(.., foreign)| foreign).chain(ENDS.iter().map(|(_, foreign)| foreign));
    let called = |foreign: &&Foreign| {
        let qemus = if let Way::QemuNbd(format) = foreign.way { format } else { "" };
        !name.is_empty() && (foreign.name.eq_ignore_ascii_case(name) || qemus == name)
    };
    all.into_iter().find(called).copied()
}

/// What the member is, where it is none that can vote as it is.
#[must_use]
pub fn foreign_format(member: &dyn Member) -> Option<Foreign> {
    let read = |at: u64| {
        let mut bytes = vec![0; HEAD_BYTES.min(usize::try_from(member.size() - at).unwrap_or(HEAD_BYTES))];
        member.read(at, &mut bytes, &mut None).ok().map(|()| bytes)
    };
    let head = read(0)?;
    let begins = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    let found = BEGINNINGS.iter().find(|(at, magic, _)| begins(*at, magic)).map(|(.., foreign)| *foreign);
    found.or_else(|| {
        let end = read(member.size().checked_sub(HEAD_BYTES as u64)?)?;
        ENDS.iter().find(|(magic, _)| end.starts_with(magic)).map(|(_, foreign)| *foreign)
    })
}

impl Foreign {
    /// The way for a file of that name (as the shell takes it) to vote.
    #[must_use]
    pub fn way(self, quoted: &str) -> String {
        match self.way {
            Way::QemuNbd(format) => format!(
                "qemu-nbd -r -t -k /run/{format}.sock -f {format} {quoted} & serves what a guest sees of it: then name nbd+unix:///?socket=/run/{format}.sock"
            ),
            Way::Unpack(command) => format!("{command} {quoted} unpacks it: then name the image"),
            Way::Ewf => format!("ewfmount {quoted} /mnt shows it as a raw image: then name /mnt/ewf1"),
        }
    }
}

/// Why a name that leads to another machine can't be opened, and the way.
#[must_use]
pub fn elsewhere(name: &str) -> Option<String> {
    let scheme = ["ssh://", "sftp://", "http://", "https://", "ftp://", "rbd:", "iscsi://", "gluster://", "nfs://", "file://"];
    let host = name
        .split_once(":/")
        .map(|(host, _)| host)
        .filter(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@[]".contains(&byte)));
    let is_elsewhere = scheme.iter().any(|scheme| name.to_ascii_lowercase().starts_with(scheme)) || host.is_some();
    is_elsewhere.then(|| {
        let path = match name.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or(rest, |at| &rest[at..]),
            None => name.rsplit_once(':').map_or(name, |(_, path)| path),
        };
        format!(
            "a path on another machine isn't opened from here: mount it, or run there qemu-nbd -r -t -f raw {} and name nbd://HOST",
            escaped(&format!("/{}", path.trim_start_matches('/')))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{elsewhere, foreign_of_name};

    #[test]
    fn names_of_formats_and_of_other_machines_are_known() {
        for name in ["vmdk", "vdi", "vhdx", "vhd", "vpc", "qed", "parallels", "dmg", "E01", "gz", "xz", "zst"] {
            assert!(foreign_of_name(name).is_some(), "{name}");
        }
        assert!(foreign_of_name("raw").is_none() && foreign_of_name("").is_none());
        for name in ["ssh://host/a.img", "host:/srv/a.img", "root@host:/srv/a.img", "http://host/a.img"] {
            assert!(elsewhere(name).is_some(), "{name}");
        }
        for name in ["a.img", "./host:/a", "/srv/a:/b", "a:b"] {
            assert!(elsewhere(name).is_none(), "{name}");
        }
    }
}

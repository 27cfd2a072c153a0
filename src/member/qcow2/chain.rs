//! Opens an image with what it refers to, and only what may be followed.

use std::{
    borrow::Cow,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

use super::{
    header::{HEAD_BYTES, Header, HeaderError, MAGIC, header_bytes},
    image::{Backing, DataFile, Image},
    opening::{IGNORED, Opening, Qcow2Error, References},
    reference::{self, Reference},
    snapshots::{find_snapshot, read_snapshots},
    voter::Qcow2Member,
};
use crate::{
    member::{Member, MemberName, OpenError, RawMember, ReadError, Readable, escaped},
    sys::beneath,
};

/// Images over each other at most; QEMU itself warns of long chains.
const DEPTH_MAX: usize = 200;
/// Reads and parses the header of a file.
///
/// # Errors
/// See [`HeaderError`]; a place that can't be read counts as damaged.
pub fn read_header(file: &RawMember) -> Result<Header, HeaderError> {
    let read = |length: u64| {
        let mut bytes = vec![0; file.size().min(length) as usize];
        match file.read(0, &mut bytes, &mut None) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(HeaderError::Damaged { offset: 0, field: "header", what: format!("can't be read: {}", words(&error)) }),
        }
    };
    let cluster_bytes = header_bytes(&read(HEAD_BYTES as u64)?)?;
    let whole = read(cluster_bytes).and_then(|bytes| Header::parse(&bytes));
    // An unreadable place behind the header itself doesn't matter.
    whole.or_else(|error| match read(4096.min(cluster_bytes)) {
        Ok(bytes) if matches!(&error, HeaderError::Damaged { field: "header", .. }) => Header::parse(&bytes),
        _ => Err(error),
    })
}

fn words(error: &ReadError) -> String {
    match error {
        ReadError::Medium(error) | ReadError::Member(error) => error.to_string(),
        ReadError::Ended => "the file ended".into(),
    }
}

/// The files on the way from a member down to the image at hand.
struct Way {
    files: Vec<(u64, u64)>,
}

impl Qcow2Member {
    /// Opens what `file` holds by its `header`, and what that refers to; says what to warn about. `guessed`: nobody said that it is a
    /// qcow2 image.
    ///
    /// # Errors
    /// See [`Qcow2Error`].
    pub fn open(file: RawMember, header: Header, guessed: bool, opening: &Opening) -> Result<(Self, Vec<String>), Qcow2Error> {
        let name = file.name().clone();
        let mut warnings = Vec::new();
        let mut way = Way { files: vec![identity(&file)] };
        let mut image = opening.image(file, header, guessed, &mut way, &mut warnings)?;
        let mut shown = None;
        if let Some(wanted) = opening.snapshot {
            let (snapshots, flaw) = read_snapshots(&image.file, &image.header);
            warnings.extend(flaw.map(|flaw| format!("{name}: {flaw}")));
            let Some(snapshot) = find_snapshot(&snapshots, wanted.as_bytes()) else {
                return Err(Qcow2Error::Snapshot { member: name, wanted: escaped(&wanted.to_string_lossy()), snapshots });
            };
            image.l1 = snapshot.l1;
            image.size = snapshot.size.unwrap_or(image.size);
            shown = Some(escaped(&String::from_utf8_lossy(&snapshot.name)));
        }
        Ok((Self::new(image, shown), warnings))
    }
}

impl Opening<'_> {
    fn image(
        &self,
        file: RawMember,
        header: Header,
        guessed: bool,
        way: &mut Way,
        warnings: &mut Vec<String>,
    ) -> Result<Image, Qcow2Error> {
        let name = file.name().clone();
        if header.dirty {
            warnings.push(format!("{name}: its dirty bit is set: it was not closed cleanly; qemu-img check -r all settles that"));
        }
        if header.corrupt {
            warnings.push(format!("{name}: its corrupt bit is set: QEMU found its metadata damaged; rebuild it with repair -o"));
        }
        let data = match (header.external_data, &header.data_file) {
            (false, _) => DataFile::Own,
            (true, None) => DataFile::Broken("the header names no external data file".into()),
            (true, Some(_)) if self.references == References::Ignored => DataFile::Broken(IGNORED.into()),
            (true, Some(named)) => {
                let reference = self.reference(&file, named, "its data lies in", guessed)?;
                match self.open(&file, &reference, "its data lies in")? {
                    Ok(data) => DataFile::External(Box::new(data)),
                    Err(why) => broken(warnings, &name, why, DataFile::Broken),
                }
            }
        };
        let backing = match &header.backing {
            None => Backing::None,
            Some(_) if self.references == References::Ignored => Backing::Broken(IGNORED.into()),
            Some(named) => {
                let mut reference = self.reference(&file, named, "its backing file is", guessed)?;
                // What the image records goes before what the name says (block.c, `bdrv_open_backing_file`).
                reference.format = recorded_format(&header).or(reference.format);
                match self.open(&file, &reference, "its backing file is")? {
                    Ok(beneath) => self.backing(&name, beneath, reference.format.as_deref(), way, warnings)?,
                    Err(why) => broken(warnings, &name, why, Backing::Broken),
                }
            }
        };
        Ok(Image::new(file, header, data, backing, self.caches))
    }

    /// What an image stands on, once its file is open.
    fn backing(
        &self,
        above: &MemberName,
        file: RawMember,
        format: Option<&str>,
        way: &mut Way,
        warnings: &mut Vec<String>,
    ) -> Result<Backing, Qcow2Error> {
        let shown = file.name().clone();
        let itself = identity(&file);
        if way.files.contains(&itself) {
            return Ok(broken(warnings, above, format!("{shown} is part of its own backing chain: a loop"), Backing::Broken));
        }
        if way.files.len() >= DEPTH_MAX {
            return Err(Qcow2Error::TooDeep { member: above.clone(), reference: shown, depth_max: DEPTH_MAX });
        }
        let guess = if starts_with_magic(&file) { "qcow2" } else { "raw" };
        if format.is_none() {
            warnings.push(format!(
                "{above}: it doesn't record the format of its backing file {shown}, which is guessed to be {guess}; \
                 qemu-img rebase -u -F {guess} -b BACKING IMAGE records it"
            ));
        }
        match format.unwrap_or(guess) {
            "raw" | "file" | "host_device" => Ok(Backing::Raw(Box::new(file))),
            "qcow2" => {
                let header = match read_header(&file) {
                    Ok(header) => header,
                    Err(error @ HeaderError::Damaged { .. }) => {
                        return Ok(broken(warnings, above, format!("the backing file {shown}: {error}"), Backing::Broken));
                    }
                    Err(error) => return Err(Qcow2Error::Unsupported { member: shown, error }),
                };
                way.files.push(itself);
                let image = self.image(file, header, format.is_none(), way, warnings)?;
                Ok(Backing::Qcow2(Box::new(image)))
            }
            other => Err(Qcow2Error::Reference {
                member: above.clone(),
                what: "its backing file is",
                reference: shown.to_string(),
                why: format!("images of the format {} aren't read here", escaped(other)).into(),
                hint: "export the image with qemu-nbd -r, and name its nbd+unix:// address instead",
            }),
        }
    }

    /// What a name means, where it may be followed at all.
    fn reference(&self, image: &RawMember, name: &[u8], what: &'static str, guessed: bool) -> Result<Reference, Qcow2Error> {
        let refused = |why: Cow<'static, str>, hint| Qcow2Error::Reference {
            member: image.name().clone(),
            what,
            reference: escaped(&String::from_utf8_lossy(name)),
            why,
            hint,
        };
        if self.references == References::Refused {
            return Err(refused(
                "what an image names is opened only where that is allowed".into(),
                "--allow-references follows names in the image's own folder and below, --allow-references=any all of them; \
                 both only where the format is given (-f qcow2)",
            ));
        }
        if guessed {
            return Err(refused(
                "a format that was only guessed is not trusted with opening other files".into(),
                "say -f qcow2 (or qcow2:PATH) where it is one; for a backing file, qemu-img rebase -u -F qcow2 -b BACKING IMAGE records its format",
            ));
        }
        let unread = "export the image with qemu-nbd -r, and name its nbd+unix:// address instead";
        reference::parse(name).map_err(|why| refused(why.into(), unread))
    }

    /// Opens what an image names; inside: why it can't be had, which is damage of that image.
    fn open(&self, image: &RawMember, reference: &Reference, what: &'static str) -> Result<Result<RawMember, String>, Qcow2Error> {
        let folder = match image.host().path().parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let path = folder.join(&reference.path);
        let name = MemberName::from(path.as_path());
        // What isn't there is damage of the image; what this process may not open, or can't any more, says nothing of it.
        let missing = |why: String, error: Option<i32>| match error {
            Some(libc::EACCES | libc::EPERM | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                Err(Qcow2Error::Unopened { member: image.name().clone(), what, reference: name.clone(), error: why })
            }
            _ => Ok(Err(format!("{name} can't be opened: {why}"))),
        };
        let unopened = |error: OpenError| missing(error.cause(), error.code());
        if self.references == References::Any {
            return match RawMember::open(name.clone(), &path, self.cache) {
                Ok(file) => Ok(Ok(file)),
                Err(error) => unopened(error),
            };
        }
        match open_beneath(folder, &reference.path) {
            Ok(file) => match RawMember::of_file(name.clone(), &path, file, self.cache) {
                Ok(file) => Ok(Ok(file)),
                Err(error) => unopened(error),
            },
            Err(Outside::Left) => Err(Qcow2Error::Reference {
                member: image.name().clone(),
                what,
                reference: escaped(&reference.path.to_string_lossy()),
                why: "that leads out of the image's own folder".into(),
                hint: "--allow-references=any follows it, where you trust what the image says",
            }),
            Err(Outside::Failed(error)) => missing(error.to_string(), error.raw_os_error()),
        }
    }
}

/// Why a file isn't opened in a folder.
enum Outside {
    /// It isn't in it.
    Left,
    /// What the system says.
    Failed(io::Error),
}

/// Whether a relative path leads above where it starts, whatever its folders are.
fn climbs_out(path: &Path) -> bool {
    let mut depth = 0;
    path.components().any(|component| {
        depth += match component {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        depth < 0
    })
}

/// Opens a path that must not leave `folder`.
fn open_beneath(folder: &Path, path: &Path) -> Result<File, Outside> {
    let inner: PathBuf = if path.is_absolute() {
        let real = fs::canonicalize(folder).map_err(Outside::Failed)?;
        let folders = [std::path::absolute(folder).map_err(Outside::Failed)?, real];
        folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).ok_or(Outside::Left)?.to_owned()
    } else {
        path.to_owned()
    };
    if climbs_out(&inner) {
        return Err(Outside::Left);
    }
    beneath::open_in(folder, &inner).map_err(|error| match error.raw_os_error() {
        Some(libc::EXDEV | libc::ELOOP) => Outside::Left,
        _ => Outside::Failed(error),
    })
}

fn broken<T>(warnings: &mut Vec<String>, image: &MemberName, why: String, as_what: impl Fn(String) -> T) -> T {
    warnings.push(format!("{image}: {why}"));
    as_what(why)
}

fn recorded_format(header: &Header) -> Option<String> {
    let format = header.backing_format.as_ref().filter(|format| !format.is_empty());
    format.map(|format| String::from_utf8_lossy(format).into_owned())
}

fn identity(file: &RawMember) -> (u64, u64) {
    let meta = file.host().metadata();
    if file.host().is_device() { (u64::MAX, meta.rdev()) } else { (meta.dev(), meta.ino()) }
}

fn starts_with_magic(file: &RawMember) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read(0, &mut magic, &mut None).is_ok() && magic == *MAGIC
}

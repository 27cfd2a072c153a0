//! Opens a file that must lie in a folder, whatever links say.

use std::{fs::File, io, path::Path};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// Opens `path`, relative to `folder`, for reading, without waiting for it.
///
/// # Errors
/// `EXDEV` where the path leaves the folder, by `..` or by a link (openat2(2), `RESOLVE_BENEATH`); else what the system says.
pub fn open_in(folder: &Path, path: &Path) -> io::Result<File> {
    let folder = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(folder, path, how)?.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::open_in;

    #[test]
    fn nothing_leads_out() {
        let root = tempfile::tempdir().expect("a folder");
        let (inner, below) = (root.path().join("inner"), root.path().join("inner/below"));
        fs::create_dir_all(&below).expect("folders");
        fs::write(root.path().join("outside"), "x").expect("a file");
        fs::write(below.join("base"), "y").expect("a file");
        symlink("below/base", inner.join("good")).expect("a link");
        symlink("../outside", inner.join("bad")).expect("a link");
        for good in ["below/base", "good", "below/../below/base"] {
            assert!(open_in(&inner, good.as_ref()).is_ok(), "{good}");
        }
        for bad in ["../outside", "bad", "below/../../outside", "/etc/passwd"] {
            let error = open_in(&inner, bad.as_ref()).expect_err(bad);
            assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{bad}: {error}");
        }
    }
}

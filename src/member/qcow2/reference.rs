//! How an image names another file: a path, `file:PATH`, or `json:{...}`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use crate::member::{blockdev, escaped};

/// What a name of a backing file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Relative ones to the folder of the image that names it.
    pub path: PathBuf,
    /// The format that the name itself states.
    pub format: Option<String>,
}

/// Takes a name apart.
///
/// # Errors
/// What in it can't be followed here, in words.
pub(super) fn parse(name: &[u8]) -> Result<Reference, String> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    if let Some(json) = name.strip_prefix(b"json:") {
        let file = blockdev::file(&blockdev::of_json(json)?)?;
        return Ok(Reference { path: file.path.into(), format: file.format.map(str::to_owned) });
    }
    if let Some(file) = name.strip_prefix(b"file:") {
        return Ok(Reference { path: path(file), format: None });
    }
    // QEMU takes all before a colon for a protocol, unless a slash comes first (block.c, `path_has_protocol`).
    let colon = name.iter().position(|&byte| byte == b':');
    let slash = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    match colon.filter(|&colon| colon < slash) {
        Some(colon) => Err(format!("the protocol {} isn't followed", escaped(&String::from_utf8_lossy(&name[..colon])))),
        None => Ok(Reference { path: path(name), format: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Reference, parse};

    #[test]
    fn names_mean_what_they_mean_to_qemu() {
        let plain = |path: &str| Ok(Reference { path: path.into(), format: None });
        let with = |path: &str, format: &str| Ok(Reference { path: path.into(), format: Some(format.into()) });
        assert_eq!(parse(b"base.img"), plain("base.img"));
        assert_eq!(parse(b"/a/b:c"), plain("/a/b:c"));
        assert_eq!(parse(b"./b:c"), plain("./b:c"));
        assert_eq!(parse(b"file:base.img"), plain("base.img"));
        assert_eq!(parse(br#"json:{"driver":"qcow2","file":{"driver":"file","filename":"b"}}"#), with("b", "qcow2"));
        assert_eq!(parse(br#"json:{"driver":"raw","file.filename":"b","file.driver":"file"}"#), with("b", "raw"));
        assert_eq!(parse(br#"json:{"driver":"file","filename":"b","cache":{"direct":true}}"#), with("b", "raw"));
        assert_eq!(parse(br#"json:{"file.filename":"b"}"#), plain("b"));
        for refused in [
            &b"nbd://host/x"[..],
            b"ssh:x",
            b"json:{",
            b"json:[]",
            br#"json:{"driver":"nbd","host":"x"}"#,
            br#"json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"b"}}"#,
            br#"json:{"driver":"qcow2","file":{"driver":"https","url":"b"}}"#,
            br#"json:{"driver":"qcow2","backing":{"driver":"file","filename":"c"},"file.filename":"b"}"#,
            br#"json:{"driver":"qcow2"}"#,
        ] {
            assert!(parse(refused).is_err(), "{}", String::from_utf8_lossy(refused));
        }
    }
}

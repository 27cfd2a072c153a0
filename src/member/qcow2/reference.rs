//! How an image names another file: a path, `file:PATH`, or `json:{...}`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use serde_json::{Map, Value};

/// What a name of a backing file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Relative ones to the folder of the image that names it.
    pub path: PathBuf,
    /// The format that the name itself states.
    pub format: Option<String>,
}

/// Options of QEMU's block drivers that don't change what is read (QEMU, qapi/block-core.json).
const HARMLESS: [&str; 12] = [
    "node-name",
    "read-only",
    "auto-read-only",
    "force-share",
    "discard",
    "detect-zeroes",
    "locking",
    "aio",
    "aio-max-batch",
    "cache",
    "drop-cache",
    "x-check-cache-dropped",
];

/// Takes a name apart.
///
/// # Errors
/// What in it can't be followed here, in words.
pub(super) fn parse(name: &[u8]) -> Result<Reference, String> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    if let Some(json) = name.strip_prefix(b"json:") {
        let value: Value = serde_json::from_slice(json).map_err(|error| format!("its JSON can't be read: {error}"))?;
        return of_json(&value);
    }
    if let Some(file) = name.strip_prefix(b"file:") {
        return Ok(Reference { path: path(file), format: None });
    }
    // QEMU takes all before a colon for a protocol, unless a slash comes first (block.c, `path_has_protocol`).
    let colon = name.iter().position(|&byte| byte == b':');
    let slash = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    match colon.filter(|&colon| colon < slash) {
        Some(colon) => Err(format!("the protocol {} isn't followed", crate::member::escaped(&String::from_utf8_lossy(&name[..colon])))),
        None => Ok(Reference { path: path(name), format: None }),
    }
}

fn of_json(value: &Value) -> Result<Reference, String> {
    let object = value.as_object().ok_or("its JSON is no object")?;
    let flat = flattened(object);
    let text = |key: &str| flat.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_str());
    let mut format = None;
    let (filename, protocol) = match text("driver") {
        Some(driver @ ("file" | "host_device")) => ("filename", Some(driver)),
        None => ("file.filename", text("file.driver")),
        Some(driver @ ("qcow2" | "raw")) => {
            format = Some(driver.to_owned());
            ("file.filename", text("file.driver"))
        }
        Some(other) => return Err(format!("the driver {} isn't followed", crate::member::escaped(other))),
    };
    if let Some(other) = protocol.filter(|driver| !["file", "host_device"].contains(driver)) {
        return Err(format!("the driver {} isn't followed", crate::member::escaped(other)));
    }
    for (key, _) in &flat {
        let own = key.strip_prefix("file.").unwrap_or(key);
        let first = own.split('.').next().unwrap_or(own);
        if key != filename && own != "driver" && !HARMLESS.contains(&first) {
            return Err(format!("the option {} isn't followed", crate::member::escaped(key)));
        }
    }
    let path = text(filename).ok_or("it names no file")?;
    // QEMU takes a protocol prefix off here, too.
    Ok(Reference { path: PathBuf::from(path.strip_prefix("file:").unwrap_or(path)), format })
}

/// Nested objects as dotted keys: QEMU takes both.
fn flattened(object: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut flat = Vec::new();
    for (key, value) in object {
        match value {
            Value::Object(inner) => flat.extend(flattened(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value))),
            other => flat.push((key.clone(), other)),
        }
    }
    flat
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
        assert_eq!(parse(br#"json:{"driver":"file","filename":"b","cache":{"direct":true}}"#), plain("b"));
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

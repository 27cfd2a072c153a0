//! Disks as QEMU's users describe them: `json:{...}`, and the dotted options of `--image-opts` (QEMU, qapi/block-core.json,
//! `BlockdevOptions`). Taken apart into names that this program knows, or refused by the key that can't be followed.

use std::fmt::Write as _;

use crate::member::{
    blockdev::{HARMLESS, Options, file, get},
    escaped,
};

/// What a description means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// One disk, by its name here.
    Disk(String),
    /// Several that vote.
    Quorum {
        /// Their names.
        children: Vec<String>,
        /// Ballots that a version needs.
        threshold: Option<usize>,
        /// Whether only the first that can be read is asked.
        fifo: bool,
    },
}

/// Children of a quorum at most: the numbers that are looked for.
const CHILDREN_MAX: usize = 1000;

/// Takes a description apart.
///
/// # Errors
/// What in it can't be followed here, in words.
pub fn describe(options: &Options) -> Result<Described, String> {
    match get(options, "driver") {
        Some("quorum") => quorum(options),
        Some("nbd") => export(options).map(Described::Disk),
        // As QEMU's own test 081 writes it: a raw format over the quorum, which changes nothing.
        Some("raw") if get(options, "file.driver") == Some("quorum") => {
            let beneath = |(key, value): &(String, String)| Some((key.strip_prefix("file.")?.to_owned(), value.clone()));
            let own = |key: &str| key == "driver" || key.starts_with("file.") || HARMLESS.contains(&key.split('.').next().unwrap_or(key));
            match options.iter().find(|(key, _)| !own(key)) {
                Some((key, _)) => Err(format!("the option {} isn't followed", escaped(key))),
                None => quorum(&options.iter().filter_map(beneath).collect::<Options>()),
            }
        }
        _ => {
            let file = file(options)?;
            Ok(Described::Disk(format!("{}{}", file.format.map_or_else(String::new, |format| format!("{format}:")), plain(&file.path))))
        }
    }
}

/// A path that can't be taken for anything else.
fn plain(path: &str) -> String {
    if path.starts_with('/') || path.starts_with("./") || path.starts_with("../") { path.to_owned() } else { format!("./{path}") }
}

fn quorum(options: &Options) -> Result<Described, String> {
    let mut children = Vec::new();
    for index in 0..CHILDREN_MAX {
        let prefix = format!("children.{index}");
        if get(options, &prefix).is_some() {
            return Err(format!("{prefix} names a node of a running QEMU, which isn't known here"));
        }
        let dotted = format!("{prefix}.");
        let own: Options = options.iter().filter_map(|(key, value)| Some((key.strip_prefix(&dotted)?.to_owned(), value.clone()))).collect();
        if own.is_empty() {
            break;
        }
        match describe(&own).map_err(|why| format!("{prefix}: {why}"))? {
            Described::Disk(name) => children.push(name),
            Described::Quorum { .. } => return Err(format!("{prefix} is a quorum again")),
        }
    }
    let counted = |key: &str| key.strip_prefix("children.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    for (key, value) in options {
        let known = match key.as_str() {
            "driver" | "vote-threshold" | "read-pattern" => true,
            // What they do while a guest runs has no meaning here.
            "rewrite-corrupted" | "blkverify" => value == "true" || value == "false" || value == "on" || value == "off",
            _ => counted(key).is_some_and(|index| index < children.len()) || HARMLESS.contains(&key.split('.').next().unwrap_or(key)),
        };
        if !known {
            return Err(format!("the option {} isn't followed", escaped(key)));
        }
    }
    let threshold = get(options, "vote-threshold").map(str::parse).transpose().map_err(|_| "vote-threshold is no number")?;
    let fifo = match get(options, "read-pattern") {
        None | Some("quorum") => false,
        Some("fifo") => true,
        Some(other) => return Err(format!("the read-pattern {} isn't known", escaped(other))),
    };
    Ok(Described::Quorum { children, threshold, fifo })
}

/// An export as an address (NBD's doc/uri.md).
fn export(options: &Options) -> Result<String, String> {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut all, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
                all.push(byte as char);
            } else {
                let _ = write!(all, "%{byte:02X}"); // a String takes all
            }
            all
        })
    };
    let known = ["driver", "export", "server.type", "server.path", "server.host", "server.port", "path", "host", "port"];
    if let Some((key, _)) = options.iter().find(|(key, _)| !known.contains(&key.as_str()) && !HARMLESS.contains(&key.as_str())) {
        return Err(format!("the option {} isn't followed; an nbd:// address says it", escaped(key)));
    }
    let either = |nested: &str, flat: &str| get(options, nested).or_else(|| get(options, flat));
    let name = escaped(get(options, "export").unwrap_or(""));
    match (either("server.path", "path"), either("server.host", "host")) {
        (Some(socket), None) => Ok(format!("nbd+unix:///{name}?socket={}", escaped(socket))),
        (None, Some(host)) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            Ok(format!("nbd://{host}:{}/{name}", either("server.port", "port").unwrap_or("10809")))
        }
        _ => Err("it names no server".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Described, describe};
    use crate::member::blockdev::{of_image_opts, of_json};

    fn json(text: &str) -> Result<Described, String> {
        describe(&of_json(text.as_bytes())?)
    }

    #[test]
    fn a_quorum_is_taken_apart() {
        let expected = Described::Quorum {
            children: vec!["qcow2:./a.qcow2".into(), "raw:/b".into(), "nbd+unix:///disk?socket=/run/s%20x".into()],
            threshold: Some(2),
            fifo: false,
        };
        let text = r#"{"driver":"quorum","vote-threshold":2,"rewrite-corrupted":true,"children":[
            {"driver":"qcow2","node-name":"n0","file":{"driver":"file","filename":"a.qcow2"}},
            {"driver":"raw","file.driver":"file","file.filename":"/b"},
            {"driver":"nbd","export":"disk","server":{"type":"unix","path":"/run/s x"}}]}"#;
        assert_eq!(json(text).as_ref(), Ok(&expected));
        let under_raw = format!(r#"{{"driver":"raw","node-name":"drive0","file":{text}}}"#);
        assert_eq!(json(&under_raw).as_ref(), Ok(&expected));
        assert!(json(&under_raw.replace("drive0\"", "drive0\",\"offset\":512")).is_err());
        let opts = "driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=a.qcow2,children.1.driver=raw,\
                    children.1.file.filename=/b,children.2.driver=nbd,children.2.path=/run/s x,children.2.export=disk";
        assert_eq!(describe(&of_image_opts(opts).expect("pairs")), Ok(expected));
    }

    #[test]
    fn what_would_change_the_bytes_is_refused() {
        for text in [
            r#"{"driver":"quorum","children":["node0","node1"]}"#,
            r#"{"driver":"quorum","vote-threshold":"x","children":[{"driver":"raw","file.filename":"a"}]}"#,
            r#"{"driver":"raw","offset":512,"file.filename":"a"}"#,
            r#"{"driver":"qcow2","backing":{"driver":"null-co"},"file.filename":"a"}"#,
            r#"{"driver":"vmdk","file.filename":"a"}"#,
            r#"{"driver":"nbd","tls-creds":"x","host":"h"}"#,
            r#"{"driver":"quorum","new-option":1,"children":[]}"#,
            "[]",
            "{",
        ] {
            assert!(json(text).is_err(), "{text}");
        }
        assert!(of_image_opts("driver=raw,file.filename").is_err());
        let comma = of_image_opts("driver=raw,file.filename=a,,b").expect("pairs");
        assert_eq!(describe(&comma), Ok(Described::Disk("raw:./a,b".into())));
    }
}

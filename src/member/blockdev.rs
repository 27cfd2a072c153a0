//! QEMU's descriptions of files and disks, `json:{...}` and dotted options (QEMU, qapi/block-core.json, `BlockdevOptions`): taken apart
//! into keys with values, or refused by the key that can't be followed.

use serde_json::{Map, Value};

use super::escaped;

/// A file as a description has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDescribed {
    /// Its path.
    pub path: String,
    /// The format that is stated: `raw` or `qcow2`.
    pub format: Option<&'static str>,
}

/// Keys with values, nested ones dotted.
pub type Options = Vec<(String, String)>;

/// Options of QEMU's block drivers that don't change what is read.
pub const HARMLESS: [&str; 12] = [
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
/// The options of a JSON object.
///
/// # Errors
/// What isn't one, in words.
pub fn of_json(text: &[u8]) -> Result<Options, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("its JSON can't be read: {error}"))?;
    let mut options = Options::new();
    flatten("", value.as_object().ok_or("its JSON is no object")?, &mut options);
    once_each(options)
}

fn flatten(prefix: &str, object: &Map<String, Value>, options: &mut Options) {
    object.iter().for_each(|(key, value)| flatten_value(format!("{prefix}{key}"), value, options));
}

fn flatten_value(key: String, value: &Value, options: &mut Options) {
    match value {
        Value::Object(inner) => flatten(&format!("{key}."), inner, options),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| flatten_value(format!("{key}.{index}"), value, options)),
        Value::String(text) => options.push((key, text.clone())),
        other => options.push((key, other.to_string())),
    }
}

/// The options of `KEY=VALUE,...`; `,,` is a comma (QEMU, util/keyval.c).
///
/// # Errors
/// What has no value.
pub fn of_image_opts(text: &str) -> Result<Options, String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ',' && letters.next_if_eq(&',').is_none() {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    let pair = |part: String| match part.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{} isn't KEY=VALUE", escaped(&part))),
    };
    once_each(parts.into_iter().filter(|part| !part.is_empty()).map(pair).collect::<Result<_, _>>()?)
}

/// What is said twice is said by mistake.
fn once_each(options: Options) -> Result<Options, String> {
    let mut keys: Vec<&str> = options.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} is given twice", escaped(pair[0]))),
        None => Ok(options),
    }
}

/// The value of a key.
#[must_use]
pub fn get<'a>(options: &'a Options, key: &str) -> Option<&'a str> {
    options.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// A file, perhaps with the format of what it holds.
///
/// # Errors
/// What in it can't be followed here, in words.
pub fn file(options: &Options) -> Result<FileDescribed, String> {
    let refused = |driver: &str| Err(format!("the driver {} isn't followed", escaped(driver)));
    let mut format = None;
    let (filename, protocol) = match get(options, "driver") {
        // Byte for byte, whatever it holds.
        Some(driver @ ("file" | "host_device")) => {
            format = Some("raw");
            ("filename", Some(driver))
        }
        None => ("file.filename", get(options, "file.driver")),
        Some("qcow2") => {
            format = Some("qcow2");
            ("file.filename", get(options, "file.driver"))
        }
        Some("raw") => {
            format = Some("raw");
            ("file.filename", get(options, "file.driver"))
        }
        Some(other) => return refused(other),
    };
    if let Some(other) = protocol.filter(|driver| !["file", "host_device"].contains(driver)) {
        return refused(other);
    }
    if get(options, "file").is_some() {
        return Err("file names a node of a running QEMU, which isn't known here".into());
    }
    for (key, _) in options {
        let own = key.strip_prefix("file.").unwrap_or(key);
        let first = own.split('.').next().unwrap_or(own);
        if key != filename && own != "driver" && !HARMLESS.contains(&first) {
            return Err(format!("the option {} isn't followed", escaped(key)));
        }
    }
    let path = get(options, filename).ok_or("it names no file")?;
    // QEMU takes a protocol prefix off here, too.
    Ok(FileDescribed { path: path.strip_prefix("file:").unwrap_or(path).to_owned(), format })
}

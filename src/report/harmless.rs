//! JSON that can be shown on a terminal: what a terminal would heed stands there as `\\u....`, and means the same.

use std::io::{self, BufRead as _, Read, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::member::is_heeded;

/// Formats as `F` does.
struct Harmless<F>(F);

/// Passes a call on.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, to: &mut W $(, $argument: $kind)*) -> io::Result<()> {
            self.0.$name(to $(, $argument)*)
        })*
    };
}

impl<F: Formatter> Formatter for Harmless<F> {
    passed_on! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        write_escaped(fragment, is_heeded, to)
    }
}

/// Writes what stands within a text of JSON, and what is `heeded` as `\\u....`: all of that lies in the basic plane.
fn write_escaped(text: &str, heeded: impl Fn(char) -> bool, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut rest = text;
    while let Some((at, there)) = rest.char_indices().find(|(_, c)| heeded(*c)) {
        to.write_all(&rest.as_bytes()[..at])?;
        write!(to, "\\u{:04x}", u32::from(there))?;
        rest = &rest[at + there.len_utf8()..];
    }
    to.write_all(rest.as_bytes())
}

/// Copies JSON, wherever it comes from. What a terminal would heed can stand only within its texts, white space between them excepted.
///
/// # Errors
/// What reading and writing say.
pub fn copy(from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut from = io::BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        write_escaped(&String::from_utf8_lossy(&line), |c| is_heeded(c) && !matches!(c, '\n' | '\r' | '\t'), &mut to)?;
        line.clear();
    }
    to.flush()
}

/// Writes a report (a [`Report`](super::Report), an [`Unfinished`](super::Unfinished)) with four spaces to a level, as QEMU's tools do, and
/// a line's end.
///
/// # Errors
/// What writing says.
pub fn write(report: &impl Serialize, mut to: impl Write) -> io::Result<()> {
    let formatter = Harmless(PrettyFormatter::with_indent(b"    "));
    report.serialize(&mut Serializer::with_formatter(&mut to, formatter)).map_err(io::Error::from)?;
    to.write_all(b"\n")
}

/// The same in one line, without its end.
pub(super) fn line(value: &impl Serialize) -> String {
    let mut line = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut line, Harmless(CompactFormatter)));
    debug_assert!(written.is_ok(), "a vector takes all");
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{copy, line, write};

    #[test]
    fn it_means_the_same_and_a_terminal_heeds_nothing() {
        let value = json!({ "name \u{9b}": ["a\u{1b}[31m\u{9b}b\u{202e}\u{7f}", "Größe \\ \"", 5, null, true, {}, []], "z": {} });
        let mut pretty = Vec::new();
        write(&value, &mut pretty).expect("a vector takes all");
        let pretty = String::from_utf8(pretty).expect("JSON is text");
        for text in [line(&value), pretty] {
            assert!(!text.trim_end().chars().any(|c| c != '\n' && crate::member::is_heeded(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
            assert!(text.contains("\\u009b") && text.contains("Größe"), "{text}");
        }
        let foreign = "{\n\t\"name\": \"a\u{9b}b\u{1b}c\"\r\n}";
        let mut copied = Vec::new();
        copy(foreign.as_bytes(), &mut copied).expect("a vector takes all");
        assert_eq!(String::from_utf8_lossy(&copied), "{\n\t\"name\": \"a\\u009bb\\u001bc\"\r\n}");
    }
}

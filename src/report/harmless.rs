//! JSON that can be shown on a terminal: what a terminal would heed stands there as `\\u....`, and means the same.

use std::io::{self, Write};

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
        let mut rest = fragment;
        while let Some(at) = rest.find(is_heeded) {
            to.write_all(&rest.as_bytes()[..at])?;
            let heeded = rest[at..].chars().next().map_or(0, u32::from); // all of them lie in the basic plane
            write!(to, "\\u{heeded:04x}")?;
            rest = &rest[at + char::from_u32(heeded).map_or(1, char::len_utf8)..];
        }
        to.write_all(rest.as_bytes())
    }
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

    use super::{line, write};

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
    }
}

//! What members are called.

use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// A name as the user gave it. Shown with control characters escaped, so that no name can write on a terminal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MemberName(OsString);

impl MemberName {
    /// The name `given` by the user.
    #[must_use]
    pub fn new(given: &OsStr) -> Self {
        Self(given.to_owned())
    }

    /// As given.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// As a shell takes it: in quotes where it must be, in `$'..'` where it holds what a terminal must not see.
    #[must_use]
    pub fn quoted(&self) -> String {
        // What starts with a dash would be an option.
        let prefix = if self.0.as_bytes().first() == Some(&b'-') { "./" } else { "" };
        format!("{prefix}{}", self.quoted_word())
    }

    /// The same, be it an option.
    #[must_use]
    pub fn quoted_word(&self) -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./+:@%,=".contains(byte);
        let bytes = self.0.as_bytes();
        match self.0.to_str() {
            Some(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
            Some(text) if escaped(text) == text => format!("'{}'", text.replace('\'', "'\\''")),
            _ => {
                let mut quoted = "$'".to_owned();
                for &byte in bytes {
                    match byte {
                        b'\'' | b'\\' => quoted.extend(['\\', byte as char]),
                        b' '..=b'~' => quoted.push(byte as char),
                        _ => {
                            let _ = write!(quoted, "\\x{byte:02x}"); // a String takes all
                        }
                    }
                }
                quoted + "'"
            }
        }
    }

    /// The name as given, where a report can say it: where it is UTF-8.
    #[must_use]
    pub fn raw(&self) -> Option<String> {
        self.0.to_str().map(str::to_owned)
    }

    /// The name's bytes in hex where it isn't UTF-8, and a report can't say it otherwise.
    #[must_use]
    pub fn hex(&self) -> Option<String> {
        self.0.to_str().is_none().then(|| {
            self.0.as_bytes().iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}"); // a String takes all
                hex
            })
        })
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Something must be seen of a name that is none.
        let shown = if self.0.is_empty() { "\"\"".to_owned() } else { escaped(&self.0.to_string_lossy()) };
        f.write_str(&shown)
    }
}

impl fmt::Debug for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&Path> for MemberName {
    fn from(path: &Path) -> Self {
        Self::new(path.as_os_str())
    }
}

/// Text from outside, fit for a terminal and for one line: control characters, and what turns the writing direction, as `\u{..}`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_heeded(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a terminal does something else with it than showing it: a control character, or one that turns the writing direction.
#[must_use]
pub fn is_heeded(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::{MemberName, escaped};
    use std::{ffi::OsStr, io::Write, os::unix::ffi::OsStrExt};

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(escaped("a\x1b[31m\nb\u{9b}c\u{202e}"), "a\\u{1b}[31m\\nb\\u{9b}c\\u{202e}");
        assert_eq!(escaped("Größe 大 \\x"), "Größe 大 \\x");
    }

    #[test]
    fn a_shell_takes_a_quoted_name_back() {
        for (name, quoted) in [
            (b"/vm/a-1.img".as_slice(), "/vm/a-1.img"),
            (b"-f", "./-f"),
            (b"my disk.img", "'my disk.img'"),
            (b"it's", "'it'\\''s'"),
            (b"a\x1b[31m\n'", "$'a\\x1b[31m\\x0a\\''"),
            (b"\xff", "$'\\xff'"),
        ] {
            assert_eq!(MemberName::new(OsStr::from_bytes(name)).quoted(), quoted);
            let said = std::process::Command::new("bash").arg("-c").arg(format!("printf %s {quoted}")).output();
            let Ok(said) = said else {
                // Not eprintln: the harness would keep that to itself.
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: bash is not installed\n").as_bytes());
                continue;
            };
            assert_eq!(said.stdout.strip_prefix(b"./").unwrap_or(&said.stdout), name, "{quoted}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_told_in_hex() {
        let name = MemberName::new(OsStr::from_bytes(b"a\xffb"));
        assert_eq!(name.hex().as_deref(), Some("61ff62"));
        assert_eq!(name.to_string(), "a\u{fffd}b");
        assert_eq!(MemberName::new(OsStr::new("a")).hex(), None);
    }
}

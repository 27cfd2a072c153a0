//! A command line that leads on.

use std::{ffi::OsString, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::member::MemberName;

/// What to run next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextCommand {
    /// Its words, the program's name first.
    pub words: Vec<OsString>,
    /// Why, or what has to be so for it.
    pub comment: String,
}

/// As a shell takes it, with the comment behind it.
impl fmt::Display for NextCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.words.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{}", MemberName::new(word).quoted_word())?;
        }
        if self.comment.is_empty() { Ok(()) } else { write!(f, "   # {}", self.comment) }
    }
}

/// For programs the words alone; one that isn't UTF-8 can't be told so.
impl Serialize for NextCommand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words.iter().map(|word| word.to_string_lossy()))
    }
}

impl<'de> Deserialize<'de> for NextCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Ok(Self { words: words.into_iter().map(OsString::from).collect(), comment: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::NextCommand;

    #[test]
    fn a_shell_takes_it_as_it_stands() {
        let words = ["quorum-img", "check", "-f", "raw", "a b", "#1", "it's", "\u{1b}[31m", ""].map(Into::into).to_vec();
        let next = NextCommand { words: words.clone(), comment: "if so".into() };
        let line = next.to_string();
        assert_eq!(line, "quorum-img check -f raw 'a b' '#1' 'it'\\''s' $'\\x1b[31m' ''   # if so");
        let said = std::process::Command::new("bash").args(["-c", &format!("printf '%s\\n' {line}")]).output().expect("bash is everywhere");
        let lines: Vec<std::ffi::OsString> = String::from_utf8_lossy(&said.stdout).lines().map(Into::into).collect();
        assert_eq!(lines, words);
        assert!(serde_json::to_string(&next).expect("JSON").starts_with("[\"quorum-img\",\"check\","));
    }
}

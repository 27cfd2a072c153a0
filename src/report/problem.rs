//! What went wrong, as programs read it.

use serde::{Deserialize, Serialize};

/// What went wrong, or stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Problem {
    /// The word of `--force` for it, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// The member that it is about, by number, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<usize>,
    /// What.
    pub message: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// What `text` says, the way out behind `hint:`, of members with these names.
    #[must_use]
    pub fn of(text: &str, names: &[String]) -> Self {
        let (message, hint) = match text.split_once("\nhint: ") {
            Some((message, hint)) => (message, Some(hint.to_owned())),
            None => (text, None),
        };
        // Messages begin with whom they are about; of names that begin alike the longest counts.
        let about = |name: &String| message.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(": "));
        let member = (0..names.len()).filter(|&index| about(&names[index])).max_by_key(|&index| names[index].len());
        let word = hint
            .as_deref()
            .and_then(|hint| hint.split("--force ").nth(1))
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect::<String>());
        Self { word, member, message: message.to_owned(), hint }
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn a_message_is_taken_apart() {
        let names = ["a".to_owned(), "a: b".to_owned(), "c".to_owned()];
        let problem = Problem::of("a: b: gone\nhint: bring it back, or say --force no-locks, which dares\nhint: or not", &names);
        assert_eq!((problem.member, problem.word.as_deref()), (Some(1), Some("no-locks")));
        assert_eq!((problem.message.as_str(), problem.hint.is_some()), ("a: b: gone", true));
        assert_eq!(Problem::of("nobody knows", &names).member, None);
    }
}

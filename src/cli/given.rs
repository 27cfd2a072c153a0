//! What the user gave on the command line, to be given again.

use std::ffi::{OsStr, OsString};

use clap::{ArgMatches, parser::ValueSource};

use super::args::{ReadBy, VoteArgs};

/// The options of one command line, without its members.
pub(super) struct Given {
    program: clap::Command,
    options: Vec<(String, Option<OsString>)>,
}

impl Given {
    /// What `matches` found on the command line of `program`, in the order of the help.
    pub(super) fn of(program: clap::Command, matches: &ArgMatches) -> Self {
        let mut options = Vec::new();
        let (name, matches) = matches.subcommand().unwrap_or(("", matches));
        for arg in program.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments) {
            let id = arg.get_id().as_str();
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let Some(name) = option_name(arg) else { continue };
            if arg.get_action().takes_values() {
                let values = matches.get_raw(id).into_iter().flatten();
                options.extend(values.map(|value| (name.clone(), Some(value.to_owned()))));
            } else {
                options.push((name, None));
            }
        }
        Self { program, options }
    }

    /// Says outright what came from a description of a quorum, whose members are named one by one now.
    pub(super) fn expanded(mut self, vote: &VoteArgs) -> Self {
        self.options.retain(|(name, _)| name != "--image-opts");
        if let Some(threshold) = vote.threshold.filter(|_| !self.has("--threshold")) {
            self.options.push(("--threshold".into(), Some(threshold.to_string().into())));
        }
        if vote.read_pattern == ReadBy::Fifo && !self.has("--read-pattern") {
            self.options.push(("--read-pattern".into(), Some("fifo".into())));
        }
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The first value given for an option; empty where it takes none.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        let found = self.options.iter().find(|(given, _)| given == name)?;
        Some(found.1.as_deref().unwrap_or_default())
    }

    /// All values given for an option.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a OsStr> {
        self.options.iter().filter(move |(given, _)| given == name).filter_map(|(_, value)| value.as_deref())
    }

    /// All of them that the command `to` knows, save those in `dropped`; where some of the members are left out, the numbers of the others
    /// (`#N`) follow, and what was said of those that are left out isn't repeated.
    pub(super) fn again(&self, to: &str, dropped: &[&str], left_out: &[usize]) -> Vec<OsString> {
        let known = self.program.find_subcommand(to).into_iter().flat_map(clap::Command::get_arguments);
        let known: Vec<String> = known.filter_map(option_name).collect();
        let mut words: Vec<OsString> = Vec::new();
        for (name, value) in &self.options {
            if !known.contains(name) || dropped.contains(&name.as_str()) {
                continue;
            }
            let Some(value) = value else {
                words.push(name.into());
                continue;
            };
            let Some(value) = renumbered(name, value, left_out) else { continue };
            // An option whose value may be left out takes it behind an equals sign, and so must one that starts with a dash.
            if name == "--allow-references" || value.as_encoded_bytes().first() == Some(&b'-') {
                let mut word = OsString::from(format!("{name}="));
                word.push(value);
                words.push(word);
            } else {
                words.extend([name.into(), value]);
            }
        }
        words
    }
}

/// What an option is called, at length where it can be; none of a positional argument.
fn option_name(arg: &clap::Arg) -> Option<String> {
    arg.get_long().map(|long| format!("--{long}")).or_else(|| arg.get_short().map(|short| format!("-{short}")))
}

/// The value with the number of a member as it is once others are left out; none where it speaks of one of those.
fn renumbered(name: &str, value: &OsStr, left_out: &[usize]) -> Option<OsString> {
    let Some(text) = value.to_str().filter(|_| !left_out.is_empty()) else { return Some(value.to_owned()) };
    let new = |number: &str| {
        let number: usize = number.parse().ok()?;
        (!left_out.contains(&number)).then(|| number - left_out.iter().filter(|&&other| other < number).count())
    };
    let (before, number, after) = match name {
        "--trust" | "--no-write" => ("", text.strip_prefix('#'), ""),
        "--mapfile" => match text.split_once('=') {
            Some((member, _)) => ("", member.strip_prefix('#'), &text[member.len()..]),
            None => ("", None, ""),
        },
        "--pick" => match text.split_once("=#") {
            Some((range, number)) => (&text[..=range.len()], Some(number), ""),
            None => ("", None, ""),
        },
        _ => ("", None, ""),
    };
    match number {
        Some(number) => Some(format!("{before}#{}{after}", new(number)?).into()),
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::Given;
    use crate::cli::command;

    fn given(line: &str) -> Given {
        let program = command();
        let matches = program.clone().try_get_matches_from(line.split(' ')).expect("a right command line");
        Given::of(program, &matches)
    }

    fn again(line: &str, to: &str, dropped: &[&str], left_out: &[usize]) -> String {
        given(line).again(to, dropped, left_out).join(" ".as_ref()).into_string().expect("text")
    }

    #[test]
    fn everything_is_given_again() {
        let line = "quorum-img repair -j2 -T none --allow-references -r 1M --pick 0:512=#1 --pick 1M:4k=b -o new.img -O qcow2 a b c";
        let words = again(line, "repair", &["--pick"], &[]);
        for part in ["--threads 2", "--cache none", "--allow-references=own", "--rate-limit 1M", "-o new.img", "--target-format qcow2"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("--pick"));
        assert!(!again(line, "check", &[], &[]).contains("new.img"));
    }

    #[test]
    fn numbers_follow_those_who_are_left_out() {
        let line = "quorum-img repair --pick 0:512=#2 --pick 4k:512=#1 --mapfile #3=map --trust #0 -o new.img a b c d";
        let words = again(line, "repair", &[], &[1]);
        assert!(words.contains("--pick 0:512=#1") && words.contains("--mapfile #2=map"), "{words}");
        assert!(words.contains("--trust #0") && words.matches("--pick").count() == 1, "{words}");
    }
}

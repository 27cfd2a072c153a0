//! The battery of refusals: what every command must refuse, each refusal a test of its own. A new command gets all of it in ten
//! lines, by saying what it works on and which groups and options concern it:
//!
//! ```ignore
//! mod check {
//!     const CHECK: Subject = Subject::voting(&["check"]);
//!     battery!(CHECK: command_line, operands, voters, reports; options: threshold, size);
//! }
//! ```
//!
//! Whatever is refused: code 3, at once, a message with a way out that names what is wrong, nothing on standard output, nothing that a
//! terminal would obey, and every file and folder as it was before. No word for `--force` opens any of these doors.

pub mod command_line;
pub mod new_images;
pub mod new_journals;
pub mod operands;
pub mod options;
pub mod reports;
mod scene;
pub mod undone_journals;
pub mod voters;

/// A command, as far as its refusals go.
#[derive(Clone, Copy)]
pub struct Subject {
    /// What stands before its options: `&["repair", "--in-place"]`.
    pub words: &'static [&'static str],
    pub takes: Takes,
    /// The `--force` that none of these refusals may give way to.
    pub force: Option<&'static str>,
    /// Options of the same command that go with another way to use it, with values that make sense there.
    pub foreign: &'static [&'static str],
}

/// What a command works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// From 2 to 64 members that vote.
    Voters,
    /// Images, each looked at by itself.
    Images,
    /// The journal of an in-place repair.
    Journal,
}

impl Subject {
    pub const fn voting(words: &'static [&'static str]) -> Self {
        Self { words, takes: Takes::Voters, force: None, foreign: &[] }
    }

    pub const fn looking(words: &'static [&'static str]) -> Self {
        Self { takes: Takes::Images, ..Self::voting(words) }
    }

    pub const fn undoing(words: &'static [&'static str]) -> Self {
        Self { takes: Takes::Journal, ..Self::voting(words) }
    }
}

/// Makes a test of each refusal in these groups, and of each of these options; see the module.
macro_rules! battery {
    ($subject:ident: $($group:ident),+) => {
        $(battery!(@$group $subject);)+
    };
    ($subject:ident: $($group:ident),+; options: $($option:ident),+) => {
        $(battery!(@$group $subject);)+
        mod options {
            $(
                #[test]
                fn $option() {
                    crate::battery::options::absurd_values(&super::$subject, stringify!($option));
                }
            )+

            #[test]
            fn none_is_left_out() {
                crate::battery::options::none_is_left_out(&super::$subject, &[$(stringify!($option)),+]);
            }
        }
    };
    (@command_line $subject:ident) => {
        battery!(@tests $subject command_line: works_otherwise, no_operand, unknown_option, flag_with_a_value, foreign_options);
    };
    (@operands $subject:ident) => {
        battery!(@tests $subject operands: missing, nameless, folder, fifo, link_to_a_fifo, socket, character_device, dangling_link,
            circular_link, below_a_file, long_name, unknown_addresses, unreadable, hostile_names);
    };
    (@company $subject:ident) => {
        battery!(@tests $subject voters: too_many, all_empty, the_same_name, hard_link, symbolic_links, detours, descriptor,
            journal, what_looks_like_qcow2);
    };
    (@voters $subject:ident) => {
        battery!(@tests $subject voters: one_member, too_many, all_empty, the_same_name, hard_link, symbolic_links, detours, descriptor,
            journal, what_looks_like_qcow2);
    };
    (@reports $subject:ident) => {
        battery!(@tests $subject reports: onto_a_member, onto_something_else, without_a_folder);
    };
    (@new_images $subject:ident) => {
        battery!(@tests $subject new_images: onto_a_member, onto_a_file, onto_something_else, without_a_folder, onto_the_report, twice);
    };
    (@new_journals $subject:ident) => {
        battery!(@tests $subject new_journals: onto_a_member, onto_a_file, onto_something_else, without_a_folder, onto_the_report);
    };
    (@undone_journals $subject:ident) => {
        battery!(@tests $subject undone_journals: empty_file, member, two_journals, of_another_user, open_to_others);
    };
    (@tests $subject:ident $group:ident: $($test:ident),+) => {
        mod $group {
            $(
                #[test]
                fn $test() {
                    crate::battery::$group::$test(&super::$subject);
                }
            )+
        }
    };
}

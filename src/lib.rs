//! Verify and rebuild replicated disk images by majority vote, offline.
//!
//! Several copies of one disk vote on every sector of it. What most of them hold is taken for right, what has no winner is called
//! undecided, and every copy that was outvoted is named. The program `quorum-img` is a thin shell around this library.
//!
//! The parts build on each other, from below: [`sys`] (the operating system), [`vote`] (the pure core), [`member`] (what can vote),
//! [`report`] (what was found, as plain data), [`digest`] (hashes of chunks), [`evidence`] (what is known beside the votes), [`electorate`] (who may vote), [`scan`] (the
//! engine), [`repair`] (all that writes), [`cli`].
//!
//! # Example
//! Three copies of a disk, of which the second has a bad sector. [`electorate::open_voters`] sees to it that they are what they are taken
//! for, that none of them votes twice, and that nobody else writes to them meanwhile:
//!
//! ```
//! use std::{ffi::OsString, fs};
//! use quorum_img::{
//!     electorate::{Access, Locks, Roll, open_voters},
//!     repair::evidence_of,
//!     report::Overall,
//!     scan::{Weighed, Limits, Poll, Question, check, make_report, sizes},
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let mut names: Vec<OsString> = Vec::new();
//! for (name, byte) in [("a.img", 7), ("b.img", 8), ("c.img", 7)] {
//!     let path = folder.path().join(name);
//!     let mut disk = vec![7; 1 << 20];
//!     disk[5000] = byte;
//!     fs::write(&path, disk)?;
//!     names.push(path.into());
//! }
//! let voters = open_voters(&Roll::of(&names), &Access::Look(Locks::Taken))?;
//! let members = voters.listed();
//!
//! let question = Question::default();
//! let poll = Poll::new(&sizes(&members), &question)?;
//! let evidence = evidence_of(&members, &question, &[]);
//! let checked = check(&members, &question, &poll, &evidence, Limits::default(), &(), &mut |_, _| Ok(()))?;
//! let report = make_report("check", &members, &question, &poll, checked, voters.warnings.clone(), Weighed::default());
//!
//! assert_eq!(report.verdict, Overall::Decided);
//! assert_eq!(report.members[1].dissenting_sectors, 1);
//! assert!(report.members[0].whole && report.members[2].whole);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
pub mod digest;
pub mod electorate;
pub mod evidence;
pub mod member;
pub mod repair;
pub mod report;
pub mod scan;
pub mod set;
pub mod sys;
pub mod vote;

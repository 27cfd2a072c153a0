//! Verify and rebuild replicated disk images by majority vote, offline.
//!
//! Several copies of one disk vote on every sector of it. What most of them hold is taken for right, what has no winner is called
//! undecided, and every copy that was outvoted is named. The program `quorum-img` is a thin shell around this library.
//!
//! The parts build on each other, from below: [`sys`] (the operating system), [`vote`] (the pure core), [`member`] (what can vote),
//! [`report`] (what was found, as plain data), [`scan`] (the engine), [`repair`] (all that writes), [`cli`].
//!
//! # Example
//! Three copies of a disk, of which the second has a bad sector:
//!
//! ```
//! use std::{fs, path::Path};
//! use quorum_img::{
//!     member::{Cache, Member, MemberName, RawMember},
//!     report::Overall,
//!     scan::{Findings, Limits, Poll, Question, check, make_report, sizes},
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let mut members = Vec::new();
//! for (name, byte) in [("a.img", 7), ("b.img", 8), ("c.img", 7)] {
//!     let path = folder.path().join(name);
//!     let mut disk = vec![7; 1 << 20];
//!     disk[5000] = byte;
//!     fs::write(&path, disk)?;
//!     members.push(RawMember::open(MemberName::from(Path::new(name)), &path, Cache::Writeback)?);
//! }
//! let members: Vec<&dyn Member> = members.iter().map(|member| member as &dyn Member).collect();
//!
//! let question = Question::default();
//! let poll = Poll::new(&sizes(&members), &question)?;
//! let findings = Findings::of(&members, Limits::default());
//! let checked = check(&members, &question, &poll, findings, &(), &mut |_, _| Ok(()))?;
//! let report = make_report("check", &members, &question, &poll, checked, Vec::new());
//!
//! assert_eq!(report.verdict, Overall::Decided);
//! assert_eq!(report.members[1].dissenting_sectors, 1);
//! assert!(report.members[0].whole && report.members[2].whole);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
pub mod member;
pub mod repair;
pub mod report;
pub mod scan;
pub mod sys;
pub mod vote;

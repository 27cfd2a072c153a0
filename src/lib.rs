//! Verify and rebuild replicated disk images by majority vote.

pub mod cli;
pub mod member;
pub mod repair;
pub mod report;
pub mod scan;
pub mod sys;
pub mod vote;

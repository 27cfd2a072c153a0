//! Verify and rebuild replicated disk images by majority vote.

pub mod member;
pub mod scan;
pub mod sys;
pub mod vote;

//! How long work tells where it is.

/// Hears what is being done: a word, and how many bytes of it there are.
pub type Phases<'a> = &'a dyn Fn(&'static str, u64);

//! What was last found to be unreadable.

/// The part of a member that was last found to be unreadable while its server answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bad {
    pub(super) part: u64,
    /// Errors in it that were taken for the same since the server was last asked.
    pub(super) errors: u32,
}

/// A part that is asked about once, in bytes, and errors in it after which the server is asked again.
pub(super) const BAD_PART_BYTES: u64 = 4 << 20;
pub(super) const BAD_ERRORS_MAX: u32 = 16;

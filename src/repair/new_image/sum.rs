//! Sums of a whole image that prove a result: those that `sha256sum` and `b3sum` print.

use sha2::{Digest as _, Sha256};

/// What a whole image is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumKind {
    /// As `sha256sum` does.
    Sha256,
    /// As `b3sum` does.
    Blake3,
}

impl SumKind {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
        }
    }

    pub(super) fn summer(self) -> Summer {
        match self {
            Self::Sha256 => Summer::Sha256(Sha256::new()),
            Self::Blake3 => Summer::Blake3(Box::default()),
        }
    }
}

/// The sum of an image's guest-visible bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// By what.
    pub kind: SumKind,
    /// In lower-case hex.
    pub hex: String,
}

/// A sum in the making.
pub(super) enum Summer {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Summer {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    pub(super) fn finish(self) -> Sum {
        match self {
            Self::Sha256(hasher) => Sum { kind: SumKind::Sha256, hex: format!("{:x}", hasher.finalize()) },
            Self::Blake3(hasher) => Sum { kind: SumKind::Blake3, hex: hasher.finalize().to_hex().to_string() },
        }
    }
}

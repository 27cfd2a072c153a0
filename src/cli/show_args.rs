//! Options of what is shown, and how.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::parse::parse_size;

/// Divergences that fit the memory's bound.
pub(super) const DIVERGENCES_MAX: u64 = 250_000;

/// What is shown, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct ShowArgs {
    /// How results are printed
    #[arg(id = "output-format", long = "output", value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Human)]
    pub format: OutputFormat,

    /// Divergences that are listed (totals stay exact)
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=DIVERGENCES_MAX))]
    pub max_divergences: u64,

    /// Write the JSON report, with every divergence, to a file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// A map of the image, a row for each member: `auto` draws it on a terminal, where something differs
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Picture::Auto)]
    pub picture: Picture,

    /// Look at what losing bytes look like: `deep` also reads the image once more for bytes that belong elsewhere in it (check alone)
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Diagnose::Quick)]
    pub diagnose: Diagnose,

    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// How closely losing bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Diagnose {
    /// Not at all
    Never,
    /// By themselves, in the first 1000 places
    Quick,
    /// And whether they belong elsewhere
    Deep,
}

/// When a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Picture {
    /// Not at all
    Never,
    /// On a terminal, where there is something to see
    Auto,
    /// Wherever people read the output
    Always,
}

impl Picture {
    /// Whether one is to be drawn, where a terminal `shows_something`.
    pub(super) fn is_wanted(self, shows_something: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => shows_something,
            Self::Always => true,
        }
    }
}

/// What is shown while it runs, and how fast it runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct ProgressArgs {
    /// Show progress, also where standard error is no terminal
    #[arg(short, long)]
    pub progress: bool,

    /// Print only the verdict and the members that are unwell, and that only where something is wrong; twice: nothing but errors
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,

    /// Bytes a second, reads and writes of all members together; 0: no limit
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    pub rate_limit: Option<u64>,
}

impl ProgressArgs {
    /// Whether nothing is to be said of what is as it should be.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet > 0
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    Human,
    /// One JSON document
    Json,
    /// One JSON object a line, as QMP's events
    Events,
}

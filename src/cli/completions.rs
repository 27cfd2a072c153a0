//! `quorum-img completions`: for shells.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use super::{say::Output, texts};

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_long_help = texts::COMPLETIONS)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them for `command`.
pub(super) fn run(args: &CompletionsArgs, command: &mut clap::Command) -> Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, command, "quorum-img", &mut text);
    std::io::Write::write_all(&mut Output::new(), &text)?;
    Ok(0)
}

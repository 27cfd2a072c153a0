//! `quorum-img completions`: for shells.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use super::{Output, texts};

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_long_help = texts::COMPLETIONS)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "quorum-img", &mut text);
    std::io::Write::write_all(&mut Output::new(), &text)?;
    Ok(0)
}

//! `quorum-img completions`: for shells.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use super::Output;

/// Print completions for a shell
///
/// For bash: `quorum-img completions bash > /etc/bash_completion.d/quorum-img`.
#[derive(Args, Debug)]
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

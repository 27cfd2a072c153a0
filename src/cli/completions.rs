//! `quorum-img completions`: for shells.

use anyhow::Result;
use clap::Args;
use clap_complete::{Shell, generate};

use super::{say::Output, texts};

/// The program's name, and one that `clap_complete` makes sense of in bash: there it spells a `-` in two ways that don't agree, and knows no
/// command then.
const NAME: &str = "quorum-img";
const NAME_IN_BASH: &str = "quorumimg";

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
    if args.shell == Shell::Bash {
        let mut renamed = command.clone().name(NAME_IN_BASH).bin_name(NAME_IN_BASH);
        generate(args.shell, &mut renamed, NAME_IN_BASH, &mut text);
        let script = String::from_utf8_lossy(&text).replace(&format!("default {NAME_IN_BASH}\n"), &format!("default {NAME}\n"));
        text = script.into_bytes();
    } else {
        generate(args.shell, command, NAME, &mut text);
    }
    std::io::Write::write_all(&mut Output::new(), &text)?;
    Ok(0)
}

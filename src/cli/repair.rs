//! `quorum-img repair`: write a repaired image, or rewrite members in place.

use anyhow::{Result, ensure};

use super::{given::Given, in_place, new_image, repair_args::RepairArgs, show_args::Diagnose};

pub(super) fn run(args: &RepairArgs, given: &Given) -> Result<u8> {
    ensure!(
        args.show.diagnose != Diagnose::Deep,
        "--diagnose deep is check's\nhint: quorum-img check --diagnose deep MEMBER... looks for bytes that belong elsewhere; a repair needn't"
    );
    match &args.output_file {
        Some(output) => new_image::run(args, output, given),
        None => in_place::run(args, given),
    }
}

//! `quorum-img repair`: write a repaired image, or rewrite members in place.

use anyhow::Result;

use super::{given::Given, in_place, new_image, repair_args::RepairArgs};

pub(super) fn run(args: &RepairArgs, given: &Given) -> Result<u8> {
    match &args.output_file {
        Some(output) => new_image::run(args, output, given),
        None => in_place::run(args, given),
    }
}

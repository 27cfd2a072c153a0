//! stub
use anyhow::Result;
#[derive(clap::Args, Debug)]
pub(super) struct InfoArgs {}
pub(super) fn run(_: &InfoArgs) -> Result<u8> { Ok(3) }

//! Members that are given as QEMU's users describe disks: `json:{...}`, and with `--image-opts`.

use std::ffi::OsString;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::args::{MemberArgs, Pattern, VoteArgs};
use crate::member::{
    described::{Described, describe, of_image_opts, of_json},
    escaped,
};

/// Takes descriptions among the members apart; a quorum becomes its members, with its threshold and read pattern.
pub(super) fn expand(members: &mut MemberArgs, vote: Option<&mut VoteArgs>) -> Result<()> {
    let described = |given: &OsString| members.image_opts || given.to_string_lossy().starts_with("json:");
    if !members.members.iter().any(described) {
        return Ok(());
    }
    let alone = members.members.len() == 1;
    let mut names: Vec<OsString> = Vec::new();
    for given in &members.members {
        if !described(given) {
            names.push(given.clone());
            continue;
        }
        let shown = || escaped(&given.to_string_lossy());
        let text = given.to_str().with_context(|| format!("{}: a description is UTF-8", shown()))?;
        let options = match text.strip_prefix("json:") {
            Some(json) => of_json(json.as_bytes()),
            None => of_image_opts(text),
        };
        let hint = "hint: name the members themselves, by path, by nbd+unix:// address, or with raw: or qcow2: before the path";
        match options.and_then(|options| describe(&options)).map_err(|why| anyhow!("{}: {why}\n{hint}", shown()))? {
            Described::Disk(name) => names.push(name.into()),
            Described::Quorum { children, threshold, fifo } => {
                ensure!(alone, "{}: a quorum is described beside other members\nhint: name the quorum alone, or its members", shown());
                let Some(vote) = vote else { bail!("{}: a quorum is no single image\n{hint}", shown()) };
                vote.threshold = vote.threshold.or(threshold);
                if fifo {
                    vote.read_pattern = Pattern::Fifo;
                }
                members.members = children.into_iter().map(OsString::from).collect();
                return Ok(());
            }
        }
    }
    members.members = names;
    Ok(())
}

//! `quorum-img set export`: a record as JSON, and back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::texts;
use crate::{
    cli::say::Output,
    evidence::{EPOCH_MAX, Uuid},
    member::MemberName,
    report,
    set::{KEYS, MemberRow, NewMember, Place, Policy, Record, State},
    sys::attributes::FileId,
    vote::MEMBERS_MAX,
};

/// The longest export that is read, in bytes.
const EXPORT_BYTES_MAX: u64 = 16 << 20;
/// Version of what is exported.
const VERSION: u32 = 1;

/// Print a set's record as JSON: members, states, policy
#[derive(Args, Debug)]
#[command(after_long_help = texts::EXPORT)]
pub(super) struct ExportArgs {
    /// The set
    #[arg(value_name = "SET")]
    set: PathBuf,
}

/// A record, as it is exported.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Exported {
    /// Version of this format.
    qset: u32,
    /// The set's.
    pub(super) uuid: Uuid,
    /// Its epoch.
    pub(super) epoch: u64,
    /// Its policy, as text.
    policy: std::collections::BTreeMap<String, String>,
    /// Its members, the removed ones left out.
    pub(super) members: Vec<ExportedMember>,
}

/// A member, as it is exported.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ExportedMember {
    uuid: Uuid,
    /// As it is opened. What isn't UTF-8 is told in `name-hex`.
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    state: String,
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<i64>,
}

pub(super) fn run(args: &ExportArgs) -> Result<u8> {
    let record = Record::look(&Place::of(&args.set)?)?;
    let policy = record.policy()?;
    let member = |row: &MemberRow| ExportedMember {
        uuid: row.uuid,
        name: row.name.to_string_lossy().into_owned(),
        name_hex: row.name.to_str().is_none().then(|| crate::digest::hex(row.name.as_encoded_bytes())),
        state: row.state.word().to_owned(),
        why: row.why.clone(),
        epoch: row.epoch,
        inode: row.file.map(|file| file.inode),
        born: row.file.and_then(|file| file.born),
    };
    let exported = Exported {
        qset: VERSION,
        uuid: record.uuid,
        epoch: record.epoch()?,
        policy: KEYS.iter().filter_map(|(key, _)| Some(((*key).to_owned(), policy.get(key)?))).collect(),
        members: record.members()?.iter().map(member).collect(),
    };
    report::write(&exported, Output::new())?;
    Ok(0)
}

/// Reads what was exported.
pub(super) fn read_export(path: &Path) -> Result<Exported> {
    let name = MemberName::from(path);
    let hint = "hint: name what quorum-img set export printed";
    let meta = fs::metadata(path).with_context(|| format!("--import {name}: can't be read\n{hint}"))?;
    ensure!(meta.is_file() && meta.len() <= EXPORT_BYTES_MAX, "--import {name}: this is no export of a set\n{hint}");
    let text = fs::read_to_string(path).with_context(|| format!("--import {name}: can't be read\n{hint}"))?;
    let exported: Exported = serde_json::from_str(&text).map_err(|error| anyhow!("--import {name}: {error}\n{hint}"))?;
    ensure!(exported.qset == VERSION, "--import {name}: is of format {}, and {VERSION} is read here\n{hint}", exported.qset);
    ensure!((2..=MEMBERS_MAX).contains(&exported.members.len()), "--import {name}: has {} members\n{hint}", exported.members.len());
    let epochs = exported.members.iter().filter_map(|member| member.epoch).chain([exported.epoch]);
    ensure!(epochs.max().is_none_or(|epoch| epoch <= EPOCH_MAX), "--import {name}: an epoch is higher than any can be\n{hint}");
    for member in &exported.members {
        let known = State::of_word(&member.state).filter(|state| *state != State::Removed);
        ensure!(known.is_some(), "--import {name}: {} is no state\n{hint}", crate::member::escaped(&member.state));
        let twice = exported.members.iter().filter(|other| other.uuid == member.uuid).count() > 1;
        ensure!(!twice, "--import {name}: {} stands there twice\n{hint}", member.uuid);
    }
    Ok(exported)
}

impl Exported {
    /// Its policy.
    pub(super) fn policy(&self) -> Result<Policy> {
        let mut policy = Policy::default();
        for (key, value) in &self.policy {
            policy.set(key, value).map_err(|why| anyhow!("--import: its policy makes no sense: {}", crate::member::escaped(&why)))?;
        }
        Ok(policy)
    }

    /// Its members, as they are to be remembered.
    pub(super) fn members(&self) -> Vec<NewMember> {
        let new = |member: &ExportedMember| NewMember {
            uuid: member.uuid,
            name: member.name_hex.as_deref().and_then(unhex).unwrap_or_else(|| member.name.clone().into()),
            state: State::of_word(&member.state).unwrap_or(State::Returning),
            why: member.why.clone(),
            epoch: member.epoch,
            unmarked: None,
            file: member.inode.map(|inode| FileId { inode, born: member.born }),
        };
        self.members.iter().map(new).collect()
    }
}

fn unhex(text: &str) -> Option<std::ffi::OsString> {
    let digits: Vec<u8> = text.bytes().map(|byte| (byte as char).to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect();
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

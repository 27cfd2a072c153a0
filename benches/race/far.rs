//! Exports of NBD servers: what a wire and the servers behind it give is told by nbdcopy, which reads one of them into nothing.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    contest::{Cache, Contest, Contestant},
    data::{Kind, Trio},
    machine::{self, Outcome},
    races::{Lab, Target},
};

/// Servers that end with this.
struct Servers(Vec<(Child, PathBuf)>);

impl Drop for Servers {
    fn drop(&mut self) {
        for (server, socket) in &mut self.0 {
            _ = server.kill();
            _ = server.wait();
            _ = std::fs::remove_file(socket);
        }
    }
}

/// One for each image.
fn serve(trio: &Trio, folder: &Path, make: &dyn Fn(&Path, &Path) -> Command) -> Outcome<(Servers, [String; 3])> {
    let mut servers = Servers(Vec::new());
    let mut addresses = Vec::new();
    for (number, image) in trio.iter().enumerate() {
        let socket = folder.join(format!("race-{number}.sock"));
        _ = std::fs::remove_file(&socket);
        let server = make(&socket, image).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        servers.0.push((server, socket.clone()));
        for _ in 0..100 {
            if socket.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        addresses.push(format!("nbd+unix:///?socket={}", socket.display()));
    }
    let addresses = addresses.try_into().map_err(|_| "three images are three servers")?;
    Ok((servers, addresses))
}

/// Servers of this machine, and some whose answers take 5 ms.
pub fn exports(lab: &mut Lab) -> Outcome<()> {
    if machine::run("nbdcopy", ["--version"]).is_err() || machine::run("nbdkit", ["--version"]).is_err() || lab.peers.qemu_img.is_none() {
        println!("\nnbd: LEFT OUT: it takes nbdcopy, nbdkit, qemu-nbd");
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("quorum-img-race-{}", std::process::id())); // a socket's name is short
    std::fs::create_dir_all(&folder)?;
    let qemu = |socket: &Path, image: &Path| {
        let mut command = Command::new("qemu-nbd");
        command.args(["-r", "-t", "-e", "16", "-f", "raw", "-k"]).arg(socket).arg(image);
        command
    };
    let kit = |words: &'static [&'static str]| {
        move |socket: &Path, image: &Path| {
            let mut command = Command::new("nbdkit");
            command.args(["-f", "-r", "-U"]).arg(socket);
            command.args(words.iter().filter(|word| word.starts_with("--"))).arg("file").arg(image);
            command.args(words.iter().filter(|word| !word.starts_with("--")));
            command
        }
    };
    let held = race(lab, &folder, "qemu-nbd", &qemu)
        .and_then(|()| race(lab, &folder, "nbdkit, file", &kit(&[])))
        .and_then(|()| race(lab, &folder, "nbdkit, file, answers after 5 ms", &kit(&["--filter=delay", "rdelay=5ms"])));
    std::fs::remove_dir_all(&folder)?;
    held
}

fn race(lab: &mut Lab, folder: &Path, what: &str, make: &dyn Fn(&Path, &Path) -> Command) -> Outcome<()> {
    let trio = lab.sets.trio(Kind::LargeWrites);
    let (_servers, [a, b, c]) = serve(&trio, folder, make)?;
    let mut contest = Contest::new(lab.title(&format!("nbd: {what}"), "three exports", "in the servers' page cache"), Cache::Warm);
    let arguments: [&dyn AsRef<OsStr>; 5] = [&"check", &"-q", &a, &b, &c];
    let ours = contest.add(Contestant::new("quorum-img check", &trio).step(0, &lab.program, &arguments));
    let one = contest.add(Contestant::new("nbdcopy A null:", &trio).step(0, "nbdcopy", &[&a, &"null:"]));
    let all = format!("nbdcopy '{a}' null: & nbdcopy '{b}' null: & nbdcopy '{c}' null: & wait");
    let all = contest.add_ceiling(Contestant::new("nbdcopy of each, all at once", &trio).step(0, "sh", &[&"-c", &all]));
    let compare: [&dyn AsRef<OsStr>; 7] = [&"compare", &"-f", &"raw", &"-F", &"raw", &a, &b];
    let again: [&dyn AsRef<OsStr>; 7] = [&"compare", &"-f", &"raw", &"-F", &"raw", &a, &c];
    contest.add(Contestant::new("qemu-img compare A B, A C", &trio).step(0, "qemu-img", &compare).step(0, "qemu-img", &again));
    let times = lab.hold(&contest)?;
    let ratio = times.ratio(ours, one) / 3.0;
    let label = format!("nbd, {what}");
    lab.targets.push(Target { what: format!("{label}: {ratio:.2} of nbdcopy's time for one, times three"), met: Some(ratio <= 1.0) });
    lab.limit(label, "wire (nbdcopy of all at once)", times.ratio(ours, all));
    Ok(())
}

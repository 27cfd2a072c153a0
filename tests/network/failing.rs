//! Errors of a server, and errors of a place on its disk.

use super::{
    NAMES, Servers,
    fuse_medium::{BLOCK, Bad},
    member,
    support::Output,
};

/// A soft mount answers with an I/O error where its server doesn't answer in time (nfs(5), `soft`): that says nothing of any sector.
#[test]
fn a_server_that_is_gone_is_a_failed_member_and_no_bad_sectors() {
    for cache in ["writeback", "none"] {
        let Some(servers) = Servers::new() else { return };
        servers.media.with("c.img", |file| file.fails_after = Some((8, libc::EIO)));
        let run = servers.check().args(["-T", cache]).exits(1);
        assert_failed(&run);
        let readings = servers.media.with("c.img", |file| file.readings);
        assert!(readings < 60, "it was asked {readings} times\n{run}");
    }
}

/// Others decide, and what is wrong with them is put right; to the one that is gone nothing is written.
#[test]
fn the_others_are_repaired_without_it() {
    let Some(servers) = Servers::new() else { return };
    servers.damage(100 * 512);
    servers.media.with("c.img", |file| file.fails_after = Some((8, libc::EIO)));
    // Two that differ, of three: nobody can tell who is right. And one couldn't be repaired, whatever is wrong with it.
    let run = servers.in_place().exits(3);
    assert_failed(&run);
    for name in NAMES {
        assert!(servers.media.with(name, |file| file.writes.is_empty()), "{name} was written to\n{run}");
    }
    let run = servers.in_place().args(["--trust", "#0"]).exits(3);
    assert_failed(&run);
    assert_eq!(servers.media.bytes("b.img"), servers.original, "{run}");
    assert!(servers.media.with("c.img", |file| file.writes.is_empty()), "{run}");
}

fn assert_failed(run: &Output) {
    let report = run.json();
    let third = member(&report, 2);
    assert_eq!(third["status"], "failed", "{run}");
    assert_eq!(third["unreadable-sectors"], 0, "{run}");
    let why = third["error"].as_str().unwrap_or_default();
    assert!(why.contains("no place of it can be read") && why.contains("offset"), "{run}");
}

/// Where its neighbours can be read it is the server's disk that can't read the place: an unreadable ballot, as on a disk of this machine.
#[test]
fn a_bad_sector_of_a_server_stays_one() {
    let Some(servers) = Servers::new() else { return };
    servers.media.with("c.img", |file| file.bad.insert(40, Bad::UntilOverwritten));
    let run = servers.check().exits(1);
    let report = run.json();
    assert_eq!(member(&report, 2)["status"], "divergent", "{run}");
    assert_eq!(member(&report, 2)["unreadable-sectors"], BLOCK / 512, "{run}");
    let run = servers.in_place().exits(0);
    assert_eq!(servers.media.bytes("c.img"), servers.original, "{run}");
}

/// What is read past this machine's page cache comes from the server, and may lie in its memory: it isn't called the medium.
#[test]
fn a_servers_answer_isnt_called_the_mediums() {
    let Some(servers) = Servers::new() else { return };
    let run = servers.check().args(["-T", "none"]).exits(0);
    assert!(run.json()["members"].as_array().is_some_and(|all| all.iter().all(|member| member["read-from"] == "server")), "{run}");
    let run = servers.lab.quorum_img(["check", "-T", "none"]).args(servers.members()).exits(0);
    assert!(run.stdout().contains("what a server keeps in its own memory can't be told"), "{run}");
    servers.damage(0);
    let run = servers.in_place().exits(0);
    assert_eq!(run.json()["repair"]["verified-from"], "server", "{run}");
    let run = servers.lab.quorum_img(["undo", "journal"]).exits(0);
    assert!(run.stdout().contains("read back from the server and found right"), "{run}");
}

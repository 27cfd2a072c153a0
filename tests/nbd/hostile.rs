//! Servers that say what no server should. Nothing that they say crashes the program, hangs it, or becomes a wrong answer.

use super::{
    Scene, have_libnbd,
    stand_in::{Answer, Chunk, Command, Kind, MODERN, Request, SIMPLE, StandIn, honest},
    support::{Output, noise, refusal::assert_clean},
};

/// No piece is promised, so that a reply may come in several.
const IN_PIECES: Kind = Kind { can_df: false, ..MODERN };

/// Reads the export and holds that nothing wrong is taken for its bytes: each sector is right, or unreadable, or the member failed.
fn never_lies(scene: &Scene, server: &StandIn) -> Output {
    let run = scene.check(&server.uri()).output();
    assert_clean(&run);
    assert!(matches!(run.code(), Some(0 | 1)), "{run}");
    let report = run.json();
    assert_eq!(report["members"][0]["dissenting-sectors"], 0, "what the server never sent is no version\n{run}");
    assert_eq!(report["sectors"]["undecided"], 0, "{run}");
    run
}

/// Reads answered by other chunks than the plain one.
fn chunks(scene: &Scene, kind: Kind, remake: fn(Vec<Chunk>) -> Vec<Chunk>) -> StandIn {
    let decide = move |request: &Request| if request.command == Command::Read { Answer::Chunks(remake) } else { Answer::Yes };
    StandIn::new(&scene.lab, "server", kind, &scene.good, decide)
}

fn halves(all: &[Chunk]) -> [Chunk; 2] {
    let [Chunk::Data(offset, bytes)] = all else { unreachable!("one chunk is made of") };
    let (one, two) = bytes.split_at(bytes.len() / 2);
    [Chunk::Data(*offset, one.to_vec()), Chunk::Data(offset + one.len() as u64, two.to_vec())]
}

/// As the protocol allows: in any order, in several pieces, with an end of its own.
#[test]
fn replies_in_pieces_are_put_together() {
    if !have_libnbd() {
        return;
    }
    let ways: [fn(Vec<Chunk>) -> Vec<Chunk>; 3] = [
        |all| halves(&all).to_vec(),
        |all| halves(&all).into_iter().rev().collect(),
        |all| halves(&all).into_iter().rev().chain([Chunk::Done]).collect(),
    ];
    for remake in ways {
        let scene = Scene::new();
        let server = chunks(&scene, IN_PIECES, remake);
        scene.check(&server.uri()).exits(0);
    }
}

/// A hole within a reply is zeros.
#[test]
fn holes_in_replies_are_zeros() {
    if !have_libnbd() {
        return;
    }
    let scene = Scene::of(vec![0; 1 << 20]);
    let server = chunks(&scene, IN_PIECES, |all| {
        let [Chunk::Data(offset, one), Chunk::Data(middle, two)] = halves(&all) else { unreachable!("two halves") };
        vec![Chunk::Hole(middle, two.len() as u32), Chunk::Data(offset, one)]
    });
    scene.check(&server.uri()).exits(0);
}

/// Half of what was asked for, and "that was all": the other half isn't zeros.
#[test]
fn what_was_not_sent_is_not_zeros() {
    if !have_libnbd() {
        return;
    }
    let ways: [fn(Vec<Chunk>) -> Vec<Chunk>; 4] = [
        |all| vec![halves(&all)[0].clone()],
        |all| vec![halves(&all)[1].clone()],
        |_| vec![Chunk::Done],
        // As many bytes as were asked for, but twice the same ones.
        |all| vec![halves(&all)[0].clone(), halves(&all)[0].clone()],
    ];
    for kind in [MODERN, IN_PIECES] {
        for remake in ways {
            let scene = Scene::of(noise(4, 256 << 10));
            let server = chunks(&scene, kind.clone(), remake);
            never_lies(&scene, &server);
        }
    }
}

/// Bytes for another place than was asked for.
#[test]
fn what_was_not_asked_for_is_not_taken() {
    if !have_libnbd() {
        return;
    }
    let ways: [fn(Vec<Chunk>) -> Vec<Chunk>; 3] = [
        |all| {
            let [Chunk::Data(offset, bytes)] = &all[..] else { unreachable!("one chunk") };
            vec![Chunk::Data(offset + 512, bytes.clone())]
        },
        |all| {
            let [Chunk::Data(offset, bytes)] = &all[..] else { unreachable!("one chunk") };
            vec![Chunk::Data(*offset, [&bytes[..], &[0xee; 4096]].concat())]
        },
        |_| vec![Chunk::Hole(0, u32::MAX)],
    ];
    for remake in ways {
        let scene = Scene::new();
        let server = chunks(&scene, MODERN, remake);
        never_lies(&scene, &server);
    }
}

/// No reply at all, but bytes.
#[test]
fn garbage_is_no_reply() {
    if !have_libnbd() {
        return;
    }
    let web = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    for (garbage, kind) in [(vec![0xff; 64], MODERN), (vec![0; 1 << 16], SIMPLE), (web, MODERN)] {
        let scene = Scene::new();
        let decide = move |request: &Request| match request.command {
            Command::Read if request.reads_before > 8 => Answer::Raw(garbage.clone()),
            _ => Answer::Yes,
        };
        let server = StandIn::new(&scene.lab, "server", kind, &scene.good, decide);
        never_lies(&scene, &server);
        scene.repairs(&server.uri());
    }
}

/// The lengths and flags that are told for a question about so many bytes.
type Told = fn(u32) -> Vec<(u32, u32)>;

/// What is told of holes may be short, long, empty or an error: what isn't known to be zeros is read.
#[test]
fn nonsense_about_holes_is_survived() {
    if !have_libnbd() {
        return;
    }
    let ways: [Told; 7] = [
        |_| vec![(512, 0)],
        |_| vec![(1, 0)],
        |_| vec![],
        |_| vec![(0, 2), (0, 0)],
        |length| vec![(length, 0), (u32::MAX, 2)],
        |_| vec![(u32::MAX, 0); 3],
        |length| (0..length / 512).map(|_| (512, 0)).collect(),
    ];
    for way in ways {
        let scene = Scene::of(noise(4, 16 << 10));
        let told = move |range: std::ops::Range<u64>| way((range.end - range.start) as u32);
        let server = StandIn::telling(&scene.lab, "server", MODERN, &scene.good, honest, told);
        never_lies(&scene, &server);
    }
    for error in [5, 22, 95] {
        let scene = Scene::new();
        let decide = move |request: &Request| if request.command == Command::Status { Answer::Error(error) } else { Answer::Yes };
        let server = StandIn::new(&scene.lab, "server", MODERN, &scene.good, decide);
        scene.check(&server.uri()).exits(0);
    }
}

/// Sizes that no disk has, and block sizes that no server should name.
#[test]
fn nonsense_about_sizes_is_survived() {
    if !have_libnbd() {
        return;
    }
    for sizes in
        [[0, 0, 0], [3, 4096, 4096], [512, 512, 100], [1 << 30, 1 << 30, 1 << 30], [65_536, 65_536, 4096], [1, 1, 1], [u32::MAX; 3]]
    {
        let scene = Scene::of(noise(4, 128 << 10));
        let server = StandIn::new(&scene.lab, "server", Kind { block_sizes: Some(sizes), ..MODERN }, &scene.good, honest);
        let run = scene.check(&server.uri()).output();
        assert_clean(&run);
        assert!(matches!(run.code(), Some(0 | 1 | 3)), "{sizes:?}\n{run}");
        if run.code() == Some(1) {
            assert_eq!(run.json()["members"][0]["dissenting-sectors"], 0, "{sizes:?}\n{run}");
        }
    }
    let scene = Scene::new();
    let empty = StandIn::new(&scene.lab, "empty", MODERN, &[], honest);
    let run = scene.check(&empty.uri()).exits(1);
    assert_eq!(run.json()["members"][0]["absent-sectors"], 2048, "{run}");
}

//! Random scripts for both ends of a connection, against a model of two queues of bytes (A7).
//!
//! The model is in the ends: each knows what it sends and what it must receive, byte by byte. So the queue from one to the
//! other is right as long as nothing comes that was not sent, and an end comes only after all that was.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::harness::{End, PATIENCE, Peer, Scene, pass, upstream::Family};
use crate::on;

/// Where failures that were found once are kept.
const REGRESSIONS: &str = "tests/connections/scripts.regressions";

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Pause,
    Resize(usize),
    Shutdown,
    Reset,
}

/// Who does it, and what.
fn step() -> impl Strategy<Value = (bool, Step)> {
    let what = prop_oneof![
        8 => (1_usize..100_000).prop_map(Step::Write),
        8 => (1_usize..100_000).prop_map(Step::Read),
        3 => Just(Step::Pause),
        1 => (2_000_usize..200_000).prop_map(Step::Resize),
        1 => Just(Step::Shutdown),
        1 => Just(Step::Reset),
    ];
    (any::<bool>(), what)
}

/// One end, and how far it is.
struct Actor {
    peer: Peer,
    written: u64,
    has_ended: bool,
    got: Option<End>,
}

impl Actor {
    fn new(peer: Peer) -> Self {
        peer.socket.set_nonblocking(true).unwrap();
        Actor { peer, written: 0, has_ended: false, got: None }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Write(n) if !self.has_ended => self.written += self.peer.write_now(n),
            Step::Read(n) => self.read(n),
            Step::Pause => pass(Duration::from_micros(500)),
            Step::Resize(n) => self.peer.socket.set_recv_buffer_size(n).unwrap(),
            Step::Shutdown => self.end(),
            Step::Write(_) | Step::Reset => {}
        }
    }

    fn read(&mut self, n: usize) {
        if self.got.is_none() {
            self.got = self.peer.read_now(n);
        }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) && !matches!(self.got, Some(End::Reset(_))) {
            self.peer.fin();
        }
    }
}

/// Reads until both have come to an end.
fn drain(actors: &mut [&mut Actor]) -> Result<(), TestCaseError> {
    let deadline = Instant::now() + PATIENCE;
    while actors.iter().any(|actor| actor.got.is_none()) {
        for actor in &mut *actors {
            actor.read(65_536);
        }
        prop_assert!(Instant::now() < deadline, "stuck");
    }
    Ok(())
}

fn play(scene: &Scene, script: &[(bool, Step)]) -> Result<(), TestCaseError> {
    let tcp = scene.families.0 != Family::Unix && scene.families.1 != Family::Unix;
    let (client, server) = scene.connect();
    let (mut client, mut server) = (Actor::new(client), Actor::new(server));
    for &(by_client, step) in script {
        // An end that has come to its end is closed: a reset would reach nobody.
        if matches!(step, Step::Reset) && tcp && client.got.is_none() && server.got.is_none() {
            let (resets, survives) = if by_client { (client, server) } else { (server, client) };
            resets.peer.reset();
            return reset_arrives(survives, resets.written);
        }
        let actor = if by_client { &mut client } else { &mut server };
        actor.act(step);
    }
    client.end();
    server.end();
    drain(&mut [&mut client, &mut server])?;
    prop_assert_eq!(client.got, Some(End::Fin(server.written)));
    prop_assert_eq!(server.got, Some(End::Fin(client.written)));
    Ok(())
}

/// A reset may throw away what was on its way, and nothing else; and it is one.
fn reset_arrives(mut survivor: Actor, sent: u64) -> Result<(), TestCaseError> {
    drain(&mut [&mut survivor])?;
    match survivor.got {
        Some(End::Reset(n)) => prop_assert!(n <= sent, "{n} bytes of {sent}"),
        // All that was sent, and a FIN, had come before the reset.
        Some(End::Fin(n)) => prop_assert_eq!(n, sent),
        None => {}
    }
    Ok(())
}

on! { every_way:
    fn any_script_gives_what_two_queues_give(scene) {
        let config = Config {
            cases: 60,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            ..Config::default()
        };
        let scripts = vec(step(), 0..40);
        let result = TestRunner::new(config).run(&scripts, |script| play(scene, &script));
        if let Err(failure) = result {
            panic!("{failure}");
        }
    }
}

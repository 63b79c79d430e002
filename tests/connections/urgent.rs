//! Urgent data (`MSG_OOB`). The urgent byte itself is not passed on, but what is around it is, and at once: a read stops
//! at the mark with more bytes behind it, and no event tells of those.

use std::time::Duration;

use crate::harness::scene::{Scene, Way};
use crate::harness::upstream::Family;
use crate::harness::{End, pass};

const ROUNDS: u64 = 100;

#[test]
fn bytes_around_urgent_marks_arrive_at_once() {
    for way in [Way::Direct, Way::Copy, Way::Auto, Way::Splice] {
        for (before, after) in [(3, 5), (0, 1), (200_000, 70_000)] {
            let scene = Scene::new(way, Family::V4, Family::V4, &[]);
            let (mut client, mut server) = scene.connect();
            for _ in 0..ROUNDS {
                for up in [true, false] {
                    let (from, to) = if up { (&mut client, &mut server) } else { (&mut server, &mut client) };
                    from.send(before);
                    from.socket.send_out_of_band(b"!").unwrap();
                    from.send(after);
                    to.receive(before + after);
                }
            }
            // What came last is a mark: the end behind it is seen all the same.
            client.socket.send_out_of_band(b"!").unwrap();
            pass(Duration::from_millis(20));
            client.fin();
            assert_eq!(server.receive_all(), End::Fin(ROUNDS * (before + after)), "{way:?}");
            server.fin();
            assert_eq!(client.receive_all(), End::Fin(ROUNDS * (before + after)), "{way:?}");
            drop((client, server));
            scene.finish();
        }
    }
}

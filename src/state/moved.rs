//! A connection on its way to another process: all that it is beside its descriptors, and how that is written.
//!
//! A message has the connections as JSON, so that a field which one of the two does not know is skipped or has its default,
//! and behind it the bytes that they hold. Any bytes give connections or an error.

use serde::{Deserialize, Serialize};

/// The bytes of a message before its JSON: how long that is.
const HEAD: usize = 4;

/// A connection: its descriptors go beside it, in this order: client, upstream, and both ends of each flow's pipe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovedConnection {
    /// Its id, which it keeps.
    pub id: u64,
    /// The name of its route.
    pub route: String,
    /// The address of the listener that accepted it.
    pub listener: String,
    /// The client, as its PROXY header named it.
    pub client: String,
    /// The upstream as written in the file.
    pub upstream: String,
    /// The address that was connected.
    pub address: String,
    /// Microseconds since it was accepted.
    pub age: u64,
    /// Microseconds from the first attempt to a connected upstream.
    pub connect: Option<u64>,
    /// Bytes sent to the upstream so far.
    pub up: u64,
    /// Bytes sent to the client so far.
    pub down: u64,
    /// How they were moved, as the relay counts it.
    pub path: u8,
    /// What its record says beside the outcome.
    pub detail: Option<String>,
    /// Which side sent FIN first: 0 none, 1 the client, 2 the upstream.
    pub first_fin: u8,
    /// Milliseconds since a byte moved, if a time limit needs it.
    pub silent: u64,
    /// What the client sends, and what the upstream sends.
    pub flows: [MovedFlow; 2],
}

/// One direction of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovedFlow {
    /// What has become of the sender: 0 it lives, 1 it has reset, 2 it does not answer.
    pub fate: u8,
    /// Nothing more comes from it.
    pub ended: bool,
    /// How much this looks like bulk data.
    pub bulk: u8,
    /// The kernel does not splice its sockets.
    pub no_splice: bool,
    /// How many bytes are in the pipe, which comes along. 0: no pipe does.
    pub piped: u32,
    /// How many bytes may pass at once. `None`: there is no limit.
    pub tokens: Option<u64>,
    /// What was read, and what the other side has not taken.
    pub held: HeldBytes,
}

/// Bytes that stand behind the JSON, which has only their number: less than 4 GiB, or the message is garbled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldBytes {
    length: u32,
    #[serde(skip)]
    bytes: Vec<u8>,
}

/// A UDP session. Its socket to the upstream goes beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovedSession {
    /// Its id, which it keeps.
    pub id: u64,
    /// The name of its route.
    pub route: String,
    /// The address of its listener.
    pub listener: String,
    /// From where the client writes, as its listener sees it.
    pub client: String,
    /// The address that the client writes to.
    pub local: String,
    /// The upstream as written in the file.
    pub upstream: String,
    /// The address that it writes to.
    pub address: String,
    /// Microseconds since it began.
    pub age: u64,
    /// The counters of its upstream include it.
    pub counted: bool,
    /// The upstream has answered.
    pub answered: bool,
    /// Milliseconds since the first question after the last answer. `None`: none is open.
    pub asked: Option<u64>,
    /// Milliseconds since its client began to show that it hears us.
    pub began: u64,
    /// After how many answers it went on.
    pub turns: u8,
    /// It has shown it.
    pub proven: bool,
    /// Datagrams of the client.
    pub questions: u64,
    /// Datagrams of the upstream.
    pub answers: u64,
    /// What was sent to the upstream.
    pub up: MovedVolume,
    /// What was sent to the client.
    pub down: MovedVolume,
    /// Datagrams that could not be passed on.
    pub dropped: u64,
    /// Answers leave by the route to the client.
    pub by_route: bool,
    /// The next datagram to the upstream has a PROXY header.
    pub headed: bool,
    /// What its record says of failed upstreams.
    pub detail: String,
}

/// Datagrams, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovedVolume {
    /// How many.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a message has no connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

impl From<Vec<u8>> for HeldBytes {
    fn from(bytes: Vec<u8>) -> HeldBytes {
        HeldBytes { length: u32::try_from(bytes.len()).unwrap_or(u32::MAX), bytes }
    }
}

impl HeldBytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl MovedConnection {
    /// How many descriptors go with it.
    pub fn descriptors(&self) -> usize {
        2 + 2 * self.flows.iter().filter(|flow| flow.piped > 0).count()
    }
}

/// The message that says these connections.
pub fn encode(connections: &[MovedConnection]) -> Vec<u8> {
    // Structs of numbers and text always have a JSON.
    let json = serde_json::to_vec(connections).unwrap_or_default();
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut bytes = [&length.to_le_bytes(), &json[..]].concat();
    connections
        .iter()
        .flat_map(|moved| &moved.flows)
        .for_each(|flow| bytes.extend_from_slice(&flow.held.bytes));
    bytes
}

/// The connections that a message says.
pub fn decode(bytes: &[u8]) -> Result<Vec<MovedConnection>, Garbled> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Garbled)?;
    let length = usize::try_from(u32::from_le_bytes(*head)).map_err(|_| Garbled)?;
    let (json, mut held) = rest.split_at_checked(length).ok_or(Garbled)?;
    let mut connections: Vec<MovedConnection> = serde_json::from_slice(json).map_err(|_| Garbled)?;
    for flow in connections.iter_mut().flat_map(|moved| &mut moved.flows) {
        let length = usize::try_from(flow.held.length).map_err(|_| Garbled)?;
        let (own, others) = held.split_at_checked(length).ok_or(Garbled)?;
        flow.held.bytes = own.to_vec();
        held = others;
    }
    if held.is_empty() { Ok(connections) } else { Err(Garbled) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow() -> impl Strategy<Value = MovedFlow> {
        let flags = (0..3_u8, any::<bool>(), any::<u8>(), any::<bool>());
        let held = prop::collection::vec(any::<u8>(), 0..40);
        (flags, any::<u32>(), any::<Option<u64>>(), held).prop_map(|(flags, piped, tokens, held)| {
            let (fate, ended, bulk, no_splice) = flags;
            MovedFlow { fate, ended, bulk, no_splice, piped, tokens, held: held.into() }
        })
    }

    fn connection() -> impl Strategy<Value = MovedConnection> {
        let names = (".*", ".*", ".*", ".*", ".*", any::<Option<String>>());
        let numbers = (any::<[u64; 5]>(), any::<Option<u64>>(), any::<[u8; 2]>());
        (names, numbers, [flow(), flow()]).prop_map(|(names, numbers, flows)| {
            let (route, listener, client, upstream, address, detail) = names;
            let ([id, age, up, down, silent], connect, [path, first_fin]) = numbers;
            MovedConnection {
                id,
                route,
                listener,
                client,
                upstream,
                address,
                age,
                connect,
                up,
                down,
                path,
                detail,
                first_fin,
                silent,
                flows,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec(connection(), 0..5)) {
            let bytes = encode(&all);
            prop_assert_eq!(decode(&bytes), Ok(all));
            // A byte more or less is noticed.
            prop_assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(Garbled));
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(Garbled));
        }

        #[test]
        fn any_bytes_give_connections_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(all) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&all)), Ok(all));
            }
        }
    }

    /// What the first version has written. Every later one reads it.
    const FIRST: &[u8] = include_bytes!("../../tests/golden/upgrade/state-1");

    #[test]
    fn what_the_first_version_has_written_is_read_and_written_again() {
        let all = decode(FIRST).unwrap();
        let piped = MovedFlow { ended: true, bulk: 4, piped: 77, tokens: Some(9), ..MovedFlow::default() };
        let held = b"held\0bytes".to_vec().into();
        let holds = MovedFlow { fate: 1, no_splice: true, held, ..MovedFlow::default() };
        let one = MovedConnection {
            id: 7,
            route: "web".to_owned(),
            listener: "127.0.0.1:80".to_owned(),
            client: "[2001:db8::1]:4711".to_owned(),
            upstream: "backend:8080".to_owned(),
            address: "10.0.0.1:8080".to_owned(),
            age: 1_000_001,
            connect: Some(250),
            up: 11,
            down: 22,
            path: 3,
            detail: Some("10.0.0.2:8080: connection refused (0.1 ms)".to_owned()),
            first_fin: 1,
            silent: 40,
            flows: [piped, holds],
        };
        assert_eq!(all, [one, MovedConnection::default()]);
        // It has written one thing more, which nobody reads.
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[HEAD..]).into_owned();
        let written = text(FIRST).replace(r#""kept":true,"#, "").replace(r#""kept":false,"#, "");
        assert_eq!(text(&encode(&all)), written);
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_and_what_an_earlier_one_lacks_has_its_default() {
        let said = |json: &str| [&u32::try_from(json.len()).unwrap().to_le_bytes(), json.as_bytes()].concat();
        let all = decode(&said(r#"[{"id":3,"colour":"blue","flows":[{"bulk":2,"mood":1},{}]}]"#)).unwrap();
        let flows = [MovedFlow { bulk: 2, ..MovedFlow::default() }, MovedFlow::default()];
        assert_eq!(all, [MovedConnection { id: 3, flows, ..MovedConnection::default() }]);
        assert_eq!(decode(&said("[{}]")).unwrap(), [MovedConnection::default()]);
        assert_eq!(decode(&said("{}")), Err(Garbled));
    }

    #[test]
    fn a_connection_has_two_descriptors_and_two_more_for_each_pipe_that_holds_bytes() {
        let with = |piped: [u32; 2]| MovedConnection {
            flows: piped.map(|piped| MovedFlow { piped, ..MovedFlow::default() }),
            ..MovedConnection::default()
        };
        let descriptors = [[0, 0], [1, 0], [0, 9], [1, 1]].map(|piped| with(piped).descriptors());
        assert_eq!(descriptors, [2, 4, 4, 6]);
        let held = HeldBytes::from(vec![7, 0, 9]);
        assert_eq!((held.as_slice(), HeldBytes::default().as_slice()), (&[7, 0, 9][..], &[][..]));
    }
}

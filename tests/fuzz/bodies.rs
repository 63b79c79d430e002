// What the fuzz targets check, and `tests/files/corpus.rs` with them: any bytes may come in, and these hold.

use portway::config::{Plan, Program, compile, import, network_list};
use portway::model::{Expect, Step, Table};
use portway::state::moved::{decode, encode};
use portway::state::talk::{Due, Silence, Talk};
use portway::wire::certificate::Certificate;
use portway::wire::client_hello::{LONGEST_RECORDS, Progress, Sniffer};
use portway::wire::pem;
use portway::wire::proxy::{self, Addresses};
use portway::wire::revocations::Revocations;

/// Compiling never panics. A file that is fine is fine again, and the same; one that is not can be shown.
pub fn compiles(bytes: &[u8]) {
    match compile("fuzz.toml", bytes) {
        Ok(compiled) => {
            let again = compile("fuzz.toml", bytes).map(|compiled| compiled.table);
            assert_eq!(again.ok().as_ref(), Some(&compiled.table));
            assert!(!compiled.table.routes.is_empty() || !compiled.table.disabled.is_empty());
            assert!(Plan::between(&compiled.table, &compiled.table).is_empty());
        }
        Err(report) => {
            assert!(report.count() > 0);
            assert!(!report.headline().contains('\n'));
            assert!(report.headline().starts_with("fuzz.toml:"));
            assert!(report.render(false).contains("fuzz.toml"));
            assert!(!report.render(true).is_empty());
        }
    }
}

/// Two files with a line `=====` between: the plan from one to the other leads from one to the other.
pub fn plans(bytes: &[u8]) {
    const RULER: &[u8] = b"=====\n";
    let Some(at) = bytes.windows(RULER.len()).position(|window| window == RULER) else { return };
    let table = |bytes: &[u8]| compile("fuzz.toml", bytes).ok().map(|compiled| compiled.table);
    let (Some(old), Some(new)) = (table(&bytes[..at]), table(&bytes[at + RULER.len()..])) else { return };
    leads(&old, &new);
    leads(&new, &old);
}

/// The plan from one table to another leads there, and says so.
pub fn leads(old: &Table, new: &Table) {
    let plan = Plan::between(old, new);
    assert_eq!(plan.apply(old), *new);
    assert_eq!(plan.is_empty(), old == new);
    assert_eq!(plan.to_string() == "nothing changes\n", old == new);
    // What the listeners' parts say is what the tables say.
    let sockets = |table: &Table| -> [Vec<_>; 2] {
        [
            table.listeners().map(|(addr, ..)| addr).collect(),
            table.datagrams().map(|(addr, ..)| addr).collect(),
        ]
    };
    for ((mut old, mut new), delta) in
        sockets(old).into_iter().zip(sockets(new)).zip([&plan.listeners, &plan.datagrams])
    {
        old.retain(|addr| !delta.removed.contains_key(addr));
        old.extend(delta.added.keys().cloned());
        // Routes that share an address share its socket.
        for sockets in [&mut old, &mut new] {
            sockets.sort();
            sockets.dedup();
        }
        assert_eq!(old, new);
    }
}

/// A PROXY header is whole at one length, before which it waits and after which it stays what it is; what is refused once
/// is refused for ever; and what was read can be written and read again.
pub fn proxy_headers(bytes: &[u8]) {
    let mut before = proxy::parse(b"");
    for end in 0..=bytes.len().min(600) {
        let read = proxy::parse(&bytes[..end]);
        match &before {
            Err(_) => assert!(read.is_err()),
            Ok(Some(whole)) => assert_eq!(read.as_ref(), Ok(&Some(whole.clone()))),
            Ok(None) => {
                if let Ok(Some((_, length))) = &read {
                    assert_eq!(*length, end);
                }
            }
        }
        before = read;
    }
    let Ok(Some((header, length))) = proxy::parse(bytes) else { return };
    assert!(length <= bytes.len().min(proxy::LONGEST));
    let again = proxy::write_v2(&header, false);
    assert_eq!(proxy::parse(&again), Ok(Some((header.clone(), again.len()))));
    if let Addresses::Ip(..) = header.addresses {
        let line = proxy::write_v1(&header.addresses);
        assert_eq!(proxy::parse(&line).unwrap().unwrap().0.addresses, header.addresses);
    }
}

/// A client's first message is the same however it comes, is known before its bound, and names what may stand in a log.
pub fn client_hellos(bytes: &[u8]) {
    let look = |ends: &mut dyn Iterator<Item = usize>| {
        let mut sniffer = Sniffer::default();
        ends.map(|end| sniffer.look(&bytes[..end])).find(|progress| *progress != Progress::More)
    };
    let whole = look(&mut std::iter::once(bytes.len()));
    assert_eq!(look(&mut (0..=bytes.len())), whole);
    assert_eq!(look(&mut (0..bytes.len()).step_by(7).chain([bytes.len()])), whole);
    assert!(whole.is_some() || bytes.len() <= LONGEST_RECORDS);
    if let Some(Progress::Hello(hello)) = whole {
        let name = hello.server_name.unwrap_or_default();
        assert!(
            name.len() <= 255
                && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        );
        assert!(hello.alpn.iter().all(|protocol| (1..=255).contains(&protocol.len())));
    }
}

/// A certificate is read whole or not at all: of its beginnings, those that are long enough say the same.
pub fn certificates(bytes: &[u8]) {
    let whole = Certificate::read(bytes);
    if let Some(name) = whole.as_ref().and_then(|whole| whole.common_name.as_ref()) {
        assert!(name.len() <= 4 * bytes.len());
    }
    for end in 0..bytes.len() {
        let part = Certificate::read(&bytes[..end]);
        assert!(
            part.is_none() || part == whole,
            "{end} of {} bytes: {part:?}, and not {whole:?}",
            bytes.len()
        );
    }
}

/// The same for a revocation list.
pub fn revocations(bytes: &[u8]) {
    let whole = Revocations::read(bytes);
    for end in 0..bytes.len() {
        let part = Revocations::read(&bytes[..end]);
        assert!(part.is_none() || part == whole, "{end} of {} bytes", bytes.len());
    }
}

/// A text is read whole, and one block more behind it is one block more; or the error is in one of its lines.
pub fn pems(bytes: &[u8]) {
    const MORE: &[u8] = b"\n-----BEGIN X-----\nMAA=\n-----END X-----\n";
    match pem::read(bytes) {
        Ok(blocks) => {
            assert!(blocks.iter().map(|block| block.bytes.len()).sum::<usize>() <= bytes.len());
            assert!(blocks.is_sorted_by_key(|block| block.line));
            let longer = [bytes, MORE].concat();
            let more = pem::read(&longer).expect("it was whole before");
            assert_eq!((&more[..more.len() - 1], more.len()), (&blocks[..], blocks.len() + 1));
        }
        Err(error) => {
            let ends = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!((1..=ends + 1).contains(&error.line), "{error:?}");
        }
    }
}

/// A list is read whole, and one network more below it is in it; or its report can be shown.
pub fn lists(bytes: &[u8]) {
    match network_list("list.txt", bytes) {
        Ok(networks) => {
            let longer = [bytes, b"\n192.0.2.77\n"].concat();
            let more = network_list("list.txt", &longer).expect("it was whole before");
            assert!(more.contains([192, 0, 2, 77].into()) && more.len() <= networks.len() + 2);
        }
        Err(report) => {
            assert!(report.count() > 0 && report.headline().starts_with("list.txt"));
            assert!(!report.render(false).is_empty());
        }
    }
}

/// What a health check has heard is judged alike however it comes, and each step is done once. The first line says what is
/// expected, the rest is the answer.
pub fn talks(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(Ok(expect)) = std::str::from_utf8(&bytes[..at]).map(str::parse::<Expect>) else { return };
    let answer = &bytes[at + 1..];
    let steps = [Step::Expect(expect.clone()), Step::Send("QUIT".parse().unwrap())];
    let done = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut talk = Talk::new(&steps);
        pieces.for_each(|piece| talk.hears(piece));
        match talk.due() {
            Due::Send(sent) => {
                assert_eq!((sent, talk.due()), (&b"QUIT"[..], Due::Nothing));
                true
            }
            due => {
                assert_eq!(due, Due::Answer);
                assert!(!talk.fault(Silence::Late).is_empty() && !talk.fault(Silence::End).is_empty());
                false
            }
        }
    };
    let whole = done(&mut std::iter::once(answer));
    assert_eq!(whole, expect.is_in(answer));
    assert_eq!(done(&mut answer.chunks(1)), whole);
}

/// A file of another program becomes routes that the compiler takes, with a word of what is not in them; or its fault is shown.
pub fn imports(bytes: &[u8]) {
    for program in [Program::Nginx, Program::Haproxy, Program::Realm, Program::Rinetd, Program::Compose] {
        match import("fuzz.conf", bytes, Some(program)) {
            Ok(imported) => {
                let compiled = compile("fuzz.toml", imported.text.as_bytes());
                assert!(compiled.is_ok(), "{}\n{}", compiled.unwrap_err(), imported.text);
                assert!(imported.statements.is_sorted_by_key(|statement| statement.line));
                let comments = imported
                    .text
                    .lines()
                    .any(|line| line.starts_with("# ") && line.contains("not carried over"));
                assert!(comments || imported.named() == 0, "{}", imported.text);
            }
            Err(report) => {
                assert_eq!(report.count(), 1);
                assert!(report.render(false).contains("fuzz.conf"));
            }
        }
    }
}

/// What one process says to another of the connections that move: any bytes give connections, which are written as they are
/// read, or an error.
pub fn moves(bytes: &[u8]) {
    let Ok(connections) = decode(bytes) else { return };
    assert_eq!(decode(&encode(&connections)).as_ref(), Ok(&connections));
    let held = connections.iter().flat_map(|moved| &moved.flows).map(|flow| flow.held.as_slice().len());
    assert!(held.sum::<usize>() <= bytes.len());
    connections.iter().for_each(|moved| assert!((2..=6).contains(&moved.descriptors())));
}

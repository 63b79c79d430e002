//! What load and backend say to each other. The first byte of a connection says what it is for:
//!
//! | byte | then | the backend |
//! |---|---|---|
//! | `e` | anything | echoes every byte, this one included |
//! | `d` | size, seed | sends `size` bytes of the pattern, then FIN |
//! | `u` | size, seed, the bytes | checks them, sends `size` back, then FIN |
//! | `f` | size (0), seed | sends the pattern until the client goes |
//! | 22 | the rest of a ClientHello | answers with one `e` |
//! | a PROXY header | one of the others | leaves it out |
//!
//! By UDP each datagram says it: `e` is echoed; `o` is checked, and counted for its sender; `q` is answered with that
//! count, as a `u64`.
//!
//! Size and seed are `u64`, little endian. Every byte is checked by the side that receives it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use anyhow::{Context, Result, bail, ensure};

/// First byte: echo.
pub const ECHO: u8 = b'e';
/// First byte: the backend sends.
pub const DOWN: u8 = b'd';
/// First byte: the client sends.
pub const UP: u8 = b'u';
/// First byte: the backend sends for ever.
pub const FLOW: u8 = b'f';

/// First byte of a datagram: it goes one way.
pub const ONE_WAY: u8 = b'o';
/// First byte of a datagram: how many came one way.
pub const HOW_MANY: u8 = b'q';

/// First byte: a TLS record with a handshake.
pub const HELLO: u8 = 22;
/// The server name that clients ask for.
pub const NAME: &str = "app.example.com";

/// Bytes of the header of `d`, `u` and `f`.
pub const HEADER: usize = 17;

/// Bytes given to the kernel, or asked of it, at once in bulk.
const CHUNK: usize = 256 * 1024;
/// The pattern repeats after this many bytes: a prime, so that a block that is lost, doubled or moved shows.
const PERIOD: usize = 262_139;

/// The header of `d`, `u` and `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `DOWN`, `UP` or `FLOW`.
    pub kind: u8,
    /// Bytes to be sent.
    pub size: u64,
    /// Where in the pattern they begin.
    pub seed: u64,
}

impl Header {
    /// As it is sent.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind;
        bytes[1..9].copy_from_slice(&self.size.to_le_bytes());
        bytes[9..].copy_from_slice(&self.seed.to_le_bytes());
        bytes
    }

    /// Reads what [`Header::bytes`] wrote.
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        Header { kind: bytes[0], size: number(1), seed: number(9) }
    }
}

/// Bytes that can be made and checked at any place of a stream.
pub struct Pattern {
    /// One period, and one chunk more: a chunk that begins anywhere in the period is one slice.
    bytes: Vec<u8>,
}

impl Pattern {
    /// The same bytes in every process (xorshift64, Marsaglia 2003).
    pub fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        bytes.extend_from_within(..CHUNK.min(PERIOD));
        bytes.extend_from_within(PERIOD..PERIOD + CHUNK.saturating_sub(PERIOD));
        Pattern { bytes }
    }

    /// `len` bytes (at most a chunk) that begin at `at`.
    pub fn at(&self, at: u64, len: usize) -> &[u8] {
        let start = (at % PERIOD as u64) as usize;
        &self.bytes[start..start + len]
    }
}

/// Sends `size` bytes of the pattern.
pub fn send_pattern(stream: &mut impl Write, pattern: &Pattern, seed: u64, size: u64) -> Result<()> {
    let mut sent = 0;
    while sent < size {
        let len = usize::try_from(size - sent).unwrap_or(CHUNK).min(CHUNK);
        stream
            .write_all(pattern.at(seed + sent, len))
            .map_err(name_timeout)
            .with_context(|| format!("sending after {sent} of {size} bytes"))?;
        sent += len as u64;
    }
    Ok(())
}

/// Receives and checks bytes of the pattern, until `size` have come or the stream ends or `enough` says so. Returns
/// how many came. Errors: a read that failed, a wrong byte, a byte too many.
pub fn receive_pattern(
    stream: &mut impl Read,
    pattern: &Pattern,
    (seed, size): (u64, u64),
    enough: impl Fn(u64) -> bool,
) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut got = 0;
    while got < size && !enough(got) {
        let n = stream
            .read(&mut buffer)
            .map_err(name_timeout)
            .with_context(|| format!("receiving after {got} bytes"))?;
        if n == 0 {
            break;
        }
        ensure!(got + n as u64 <= size, "{n} bytes after {got}, but only {size} were sent");
        ensure!(
            buffer[..n] == *pattern.at(seed + got, n),
            "wrong bytes between {got} and {}",
            got + n as u64
        );
        got += n as u64;
    }
    Ok(got)
}

/// A read or write that timed out says `EAGAIN`, which tells a person nothing.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "stuck: no byte moved for long"),
        _ => error,
    }
}

/// Reads the end of the stream; a byte instead of it is an error.
pub fn receive_end(stream: &mut impl Read) -> Result<()> {
    match stream.read(&mut [0; 16]).map_err(name_timeout).context("waiting for FIN")? {
        0 => Ok(()),
        n => bail!("{n} bytes where FIN was due"),
    }
}

/// The backend's part of one `d`, `u` or `f` connection, of which `first` was read already. Blocking.
pub fn serve_bulk(stream: &TcpStream, first: &[u8], pattern: &Pattern) -> Result<()> {
    let mut input = first.chain(stream);
    let mut header = [0; HEADER];
    input.read_exact(&mut header).context("reading the header")?;
    let Header { kind, size, seed } = Header::parse(&header);
    let mut output = stream;
    match kind {
        DOWN => send_pattern(&mut output, pattern, seed, size)?,
        UP => {
            let got = receive_pattern(&mut input, pattern, (seed, size), |_| false)?;
            ensure!(got == size, "{got} of {size} bytes came");
            output.write_all(&got.to_le_bytes()).context("sending the count")?;
        }
        // It ends when the client has seen enough, and closes.
        FLOW => {
            let _ = send_pattern(&mut output, pattern, seed, u64::MAX - seed);
            return Ok(());
        }
        other => bail!("a connection began with {other:#04x}"),
    }
    stream.shutdown(Shutdown::Write).context("sending FIN")?;
    receive_end(&mut input)
}

/// Message `number` of connection `id` in a ping-pong: each differs from every other in its first 13 bytes.
pub fn message(into: &mut [u8], id: u32, number: u64, pattern: &Pattern) {
    let len = into.len();
    into.copy_from_slice(pattern.at(u64::from(id) * 7919 + number * 61, len));
    into[0] = ECHO;
    if len >= 13 {
        into[1..5].copy_from_slice(&id.to_le_bytes());
        into[5..13].copy_from_slice(&number.to_le_bytes());
    }
}

/// A ClientHello of 517 bytes, as browsers and OpenSSL pad theirs, that asks for a server.
pub fn client_hello(name: &str) -> Vec<u8> {
    const WHOLE: usize = 517;
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let mut extensions =
        [&[0, 0][..], &sized(&sized(&[&[0], &sized(name.as_bytes())[..]].concat()))].concat();
    // Record, handshake, version, random, session, two ciphers, no compression, the sizes of the extensions.
    let before = 5 + 4 + 2 + 32 + 33 + 6 + 2 + 2;
    let padding = vec![0; WHOLE - before - extensions.len() - 4];
    extensions.extend([&[0, 21][..], &sized(&padding)].concat());
    let body =
        [&[3, 3][..], &[7; 32], &[32], &[9; 32], &[0, 4, 19, 1, 19, 2, 1, 0], &sized(&extensions)].concat();
    let handshake = [&[1, 0][..], &sized(&body)].concat();
    [&[HELLO, 3, 1][..], &sized(&handshake)].concat()
}

/// What of these bytes is a PROXY header: version 1 is a line of text, version 2 says its length.
pub fn proxy_header(bytes: &[u8]) -> usize {
    match bytes {
        [b'P', b'R', b'O', b'X', b'Y', ..] => {
            bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1)
        }
        [13, 10, 13, 10, 0, 13, 10, b'Q', b'U', b'I', b'T', 10, _, _, high, low, ..] => {
            16 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => 0,
    }
}

/// The number in a message; `None`: it is too short for one.
pub fn number_of(message: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(message.get(5..13)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_was() {
        let header = Header { kind: UP, size: 1 << 40, seed: 77 };
        assert_eq!(Header::parse(&header.bytes()), header);
    }

    #[test]
    fn the_pattern_is_checked_over_several_periods() {
        let (pattern, size) = (Pattern::new(), 3 * PERIOD as u64 + 12_345);
        let mut sent = Vec::new();
        send_pattern(&mut sent, &pattern, 99, size).unwrap();
        assert_eq!(sent.len() as u64, size);
        let got = receive_pattern(&mut sent.as_slice(), &pattern, (99, size), |_| false).unwrap();
        assert_eq!(got, size);
    }

    #[test]
    fn one_wrong_byte_one_lost_block_and_one_byte_too_many_are_seen() {
        let (pattern, size) = (Pattern::new(), 2 * CHUNK as u64);
        let mut sent = Vec::new();
        send_pattern(&mut sent, &pattern, 0, size).unwrap();
        let receive = |bytes: &[u8], size| receive_pattern(&mut &*bytes, &pattern, (0, size), |_| false);

        let mut wrong = sent.clone();
        wrong[CHUNK + 5] ^= 1;
        assert!(receive(&wrong, size).is_err());

        let mut lost = sent.clone();
        lost.drain(4096..8192);
        assert!(receive(&lost, size).is_err());

        sent.push(0);
        assert!(receive_end(&mut sent.as_slice()).is_err());
    }

    #[test]
    fn a_hello_has_the_size_that_it_says() {
        let hello = client_hello(NAME);
        assert_eq!((hello.len(), hello[0]), (517, HELLO));
        let (record, handshake) =
            (u16::from_be_bytes([hello[3], hello[4]]), [0, hello[6], hello[7], hello[8]]);
        assert_eq!((record, u32::from_be_bytes(handshake)), (512, 508));
        assert!(hello.windows(NAME.len()).any(|part| part == NAME.as_bytes()));
    }

    #[test]
    fn a_proxy_header_is_found_and_nothing_else() {
        assert_eq!(proxy_header(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\ne"), 36);
        assert_eq!(proxy_header(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02abe"), 18);
        assert_eq!((proxy_header(b"e"), proxy_header(b"PROXY TCP4 1")), (0, 0));
    }

    #[test]
    fn messages_differ() {
        let pattern = Pattern::new();
        let made = |id, number| {
            let mut bytes = [0; 64];
            message(&mut bytes, id, number, &pattern);
            bytes
        };
        assert_ne!(made(1, 2), made(1, 3));
        assert_ne!(made(1, 2), made(2, 2));
        assert_eq!(made(1, 2), made(1, 2));
        assert_eq!(made(1, 2)[0], ECHO);
    }
}

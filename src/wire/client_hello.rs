//! Reads the first message of a TLS client (RFC 8446, section 4.1.2): the server that it asks for (RFC 6066, section
//! 3), and the ALPN protocols that it offers (RFC 7301). The bytes go on to the upstream unchanged.
//!
//! This uses no TLS library: one that serves TLS refuses hellos of versions and ciphers that it does not speak, and
//! here they only pass through. A client may split the message into records, and those into segments, wherever it
//! likes.

use std::borrow::Cow;

/// The longest message that is read, in bytes. Legal ones may have twice that, which OpenSSL reads; rustls and Go
/// (`maxHandshake`) read 64 KiB, HAProxy and nginx look at 16 KiB. More than 32 KiB has one with a long session ticket (64 KiB
/// are legal), or with two key shares of FrodoKEM (21 KiB each).
pub const LONGEST: usize = 64 * 1024;
/// Most bytes that its records may take: a client that splits it into single bytes is not a TLS client.
pub const LONGEST_RECORDS: usize = LONGEST + 16 * 1024;

/// Bytes of a record header.
const RECORD: usize = 5;
/// Bytes before the body of a message: its type, and its length in three bytes.
const START: usize = 4;
/// Most bytes in a record of plain text (section 5.1).
const LARGEST_RECORD: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The server's name, in lower case and without a dot at its end. `None`: the client names none.
    pub server_name: Option<String>,
    /// The ALPN protocols, in the client's order. Empty: it offers none.
    pub alpn: Vec<Vec<u8>>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// A whole message.
    Hello(ClientHello),
    /// Not TLS, or a message that no server would understand.
    Other,
}

/// Reads a message as it arrives. Does not look again at records that it has read, and keeps no copy of them.
#[derive(Debug, Default)]
pub struct Sniffer {
    /// Where the next record begins, in bytes.
    at: usize,
    /// How many bytes of the message the records before it hold.
    have: usize,
    /// The first of them: the type and the length of the message.
    start: [u8; START],
}

impl Sniffer {
    /// Looks at all bytes so far, which must begin with those of the last call.
    pub fn look(&mut self, bytes: &[u8]) -> Progress {
        loop {
            let Some(rest) = bytes.get(self.at..) else { return Progress::Other };
            let (kind, version) = (rest.first(), rest.get(1));
            // One byte is enough to see that this is not TLS: a client of another protocol may wait for its answer.
            if kind.is_some_and(|kind| *kind != HANDSHAKE) || version.is_some_and(|major| *major != 3) {
                return Progress::Other;
            }
            let (Some(high), Some(low)) = (rest.get(3), rest.get(4)) else { return Progress::More };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length == 0 || length > LARGEST_RECORD {
                return Progress::Other;
            }
            // Look at a record before it is complete: its beginning may be enough.
            let there = rest.get(RECORD..).unwrap_or_default();
            let Some(part) = there.get(..length) else {
                return match self.start.first().filter(|_| self.have > 0).or(there.first()) {
                    Some(kind) if *kind != CLIENT_HELLO => Progress::Other,
                    _ if bytes.len() > LONGEST_RECORDS => Progress::Other,
                    _ => Progress::More,
                };
            };
            let missing = self.start.get_mut(self.have..).unwrap_or_default();
            missing.iter_mut().zip(part).for_each(|(byte, there)| *byte = *there);
            (self.at, self.have) = (self.at + RECORD + length, self.have + length);
            match self.whole(bytes) {
                Some(progress) => return progress,
                None if self.at > LONGEST_RECORDS => return Progress::Other,
                None => {}
            }
        }
    }

    /// The result, once the message is complete or cannot become one. `None`: more bytes are needed.
    fn whole(&self, bytes: &[u8]) -> Option<Progress> {
        let [kind, high, middle, low] = self.start;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind != CLIENT_HELLO || (self.have >= START && length > LONGEST) {
            return Some(Progress::Other);
        }
        if self.have < START + length {
            return None;
        }
        let message = joined(bytes.get(..self.at).unwrap_or_default());
        let body = message.get(START..START + length)?;
        Some(hello(&mut Reader(body)).map_or(Progress::Other, Progress::Hello))
    }
}

/// The content of whole records. Copied only if there are several.
fn joined(mut records: &[u8]) -> Cow<'_, [u8]> {
    let mut message = Cow::Borrowed(&[][..]);
    while let Some(([_, _, _, high, low], rest)) = records.split_first_chunk() {
        let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(rest.len()));
        if message.is_empty() {
            message = Cow::Borrowed(part);
        } else {
            message.to_mut().extend_from_slice(part);
        }
        records = rest;
    }
    message
}

/// Takes bytes from the front. Each method returns `None` if there are too few.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector with its length in one byte.
    fn short(&mut self) -> Option<&'b [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector with its length in two bytes.
    fn long(&mut self) -> Option<&'b [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

/// Reads the body of a hello. `None`: no server would understand it.
fn hello(body: &mut Reader<'_>) -> Option<ClientHello> {
    let mut hello = ClientHello::default();
    let (_version, _random) = (body.take(2)?, body.take(32)?);
    let (_session, _ciphers, _compressions) = (body.short()?, body.long()?, body.short()?);
    if body.0.is_empty() {
        // Before TLS 1.2 a hello may have no extensions.
        return Some(hello);
    }
    let mut extensions = Reader(body.long()?);
    if !body.0.is_empty() {
        return None;
    }
    let (mut named, mut offered) = (false, false);
    while !extensions.0.is_empty() {
        let (kind, value) = (extensions.u16()?, extensions.long()?);
        match kind {
            // With two of them we could read one name, and the server another.
            SERVER_NAME if std::mem::replace(&mut named, true) => return None,
            ALPN if std::mem::replace(&mut offered, true) => return None,
            SERVER_NAME => hello.server_name = server_name(value)?,
            ALPN => hello.alpn = protocols(value)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The first host name of the list. Inner `None`: the list has only other kinds of names. Outer `None`: it is
/// malformed.
fn server_name(value: &[u8]) -> Option<Option<String>> {
    let mut value = Reader(value);
    let mut names = Reader(value.long()?);
    if !value.0.is_empty() || names.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !names.0.is_empty() {
        let (kind, name) = (names.u8()?, names.long()?);
        if kind == 0 && found.is_none() {
            found = Some(host_name(name)?);
        }
    }
    Some(found)
}

/// Checks a name and puts it in lower case. Only these bytes are legal: no other may reach a log, a table or a header.
fn host_name(name: &[u8]) -> Option<String> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if name.is_empty() || name.len() > 255 || !name.iter().all(legal) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    (!name.is_empty()).then(|| name.to_owned())
}

fn protocols(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut value = Reader(value);
    let mut list = Reader(value.long()?);
    if !value.0.is_empty() || list.0.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.short()?;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.to_vec());
    }
    Some(protocols)
}

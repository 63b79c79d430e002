//! As much of HTTP/1.1 as the endpoint needs: requests with at most one body of a known length, answers with one. Everything
//! that a client sends is bounded in size and in time.

use std::fmt::Write;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::net::Socket;

/// A head may have so many bytes,
const HEAD: usize = 16 * 1024;
/// so many fields,
const FIELDS: usize = 64;
/// and from its first byte on so much time.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
/// A connection without a request is closed after this time.
const IDLE: Duration = Duration::from_secs(60);
/// A body may take so much time; so may the client to take an answer in.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The largest body: a file of the size that is read at most.
const BODY: usize = crate::server::file::LARGEST as usize;

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    /// As `Get`, without the body of the answer.
    Head,
    Post,
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    pub method: Method,
    /// Without its query.
    pub path: String,
    pub query: String,
    pub host: Option<String>,
    pub origin: Option<String>,
    /// Of `Authorization: Bearer`.
    pub token: Option<String>,
    pub accept: String,
    pub body: Vec<u8>,
    /// The client may send another one.
    pub again: bool,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
    /// More header lines, each with its end.
    pub more: &'static str,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The client has gone, or was too slow: nothing is said.
    Gone,
    /// It is told, and then the connection ends.
    Bad(u16, &'static str),
}

/// A connection of the endpoint.
pub(super) struct Talk {
    pub socket: Socket,
    /// What was read and is not used yet.
    read: Vec<u8>,
}

impl Talk {
    pub fn new(socket: Socket) -> Talk {
        Talk { socket, read: Vec::new() }
    }

    /// The next request. `waits` is told whether a whole head is being waited for: then the connection may give way.
    pub async fn next(&mut self, waits: impl Fn(bool)) -> Result<Request, Wrong> {
        waits(true);
        let head = self.head().await;
        waits(false);
        let (mut request, length, expects) = head?;
        if expects && length > self.read.len() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let deadline = Instant::now() + BODY_TIME;
        while self.read.len() < length {
            self.more(deadline).await?;
        }
        request.body = self.read.drain(..length).collect();
        Ok(request)
    }

    async fn head(&mut self) -> Result<(Request, usize, bool), Wrong> {
        let mut deadline = Instant::now() + if self.read.is_empty() { IDLE } else { HEAD_TIME };
        loop {
            if let Some((head, length, request, expects)) = parse(&self.read)? {
                self.read.drain(..head);
                return Ok((request, length, expects));
            }
            if self.read.len() > HEAD {
                return Err(Wrong::Bad(431, "the head of the request is too large"));
            }
            let first = self.read.is_empty();
            self.more(deadline).await?;
            if first {
                deadline = Instant::now() + HEAD_TIME;
            }
        }
    }

    async fn more(&mut self, deadline: Instant) -> Result<(), Wrong> {
        match timeout_at(deadline, self.socket.recv_into(&mut self.read)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(_) => Err(Wrong::Gone),
            Err(_) if self.read.is_empty() => Err(Wrong::Gone),
            Err(_) => Err(Wrong::Bad(408, "the request did not come in time")),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        match timeout(BODY_TIME, (&self.socket).write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Wrong::Gone),
        }
    }

    /// Sends an answer; `head_only`: without its body.
    pub async fn answer(&mut self, answer: &Answer, head_only: bool, again: bool) -> Result<(), Wrong> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        // Writing to a string cannot fail.
        let _ = write!(head, "content-type: {}\r\ncontent-length: {}\r\n", answer.kind, answer.body.len());
        head.push_str("cache-control: no-store\r\nx-content-type-options: nosniff\r\n");
        head.push_str(answer.more);
        head.push_str(if again { "\r\n" } else { "connection: close\r\n\r\n" });
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&answer.body);
        }
        // In pieces: each has its own time, and so a large answer may take long.
        for piece in bytes.chunks(256 * 1024) {
            self.send(piece).await?;
        }
        Ok(())
    }
}

/// The head of a request with its length and that of the body, once it is whole; and whether the client waits for leave to
/// send that body.
fn parse(bytes: &[u8]) -> Result<Option<(usize, usize, Request, bool)>, Wrong> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let whole = match head.parse(bytes) {
        Ok(httparse::Status::Complete(whole)) => whole,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Wrong::Bad(431, "the request has too many fields"));
        }
        Err(_) => return Err(Wrong::Bad(400, "this is no HTTP/1.1 request")),
    };
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => return Err(Wrong::Bad(405, "the methods are GET, HEAD and POST")),
    };
    let field = |name: &str| -> Result<Option<String>, Wrong> {
        let mut found = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let Some(first) = found.next() else { return Ok(None) };
        let text = std::str::from_utf8(first.value).ok().filter(|_| found.next().is_none());
        let text = text.ok_or(Wrong::Bad(400, "a field of the request comes twice, or is no text"))?;
        Ok(Some(text.trim().to_owned()))
    };
    if field("transfer-encoding")?.is_some() {
        return Err(Wrong::Bad(411, "send the body with its length (Content-Length)"));
    }
    let length = match field("content-length")? {
        None => 0,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().unwrap_or(usize::MAX),
        Some(_) => return Err(Wrong::Bad(400, "Content-Length is no number")),
    };
    if length > BODY {
        return Err(Wrong::Bad(413, "the body is larger than 16 MiB"));
    }
    let connection = field("connection")?.unwrap_or_default().to_ascii_lowercase();
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let bearer = field("authorization")?;
    let bearer = bearer.as_deref().and_then(|value| value.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        host: field("host")?,
        origin: field("origin")?,
        token: bearer.map(|(_, token)| token.trim().to_owned()),
        accept: field("accept")?.unwrap_or_default(),
        body: Vec::new(),
        again: head.version == Some(1) && !connection.split(',').any(|word| word.trim() == "close"),
    };
    let expects = field("expect")?.is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    Ok(Some((whole, length, request, expects)))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Ok(Some(_)) => 200,
            Ok(None) => 0,
            Err(Wrong::Bad(status, _)) => status,
            Err(Wrong::Gone) => 1,
        }
    }

    #[test]
    fn what_is_no_request_of_ours_is_refused() {
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n"), 0);
        assert_eq!(status("\x16\x03\x01"), 400);
        assert_eq!(status("PUT / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 413);
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
        let many: String = (0..100).map(|field| format!("f{field}: v\r\n")).collect();
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let text = b"POST /v1/kill?a=b HTTP/1.1\r\nhost: x:1\r\nAuthorization: bearer  t0ken \r\nContent-Length: 2\r\n\r\n{}";
        let (head, length, request, expects) = parse(text).unwrap().unwrap();
        assert_eq!((&text[head..], length, expects), (&b"{}"[..], 2, false));
        assert_eq!((request.method, &*request.path, &*request.query), (Method::Post, "/v1/kill", "a=b"));
        assert_eq!((request.token.as_deref(), request.again), (Some("t0ken"), true));
        let old = parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(!old.2.again);
    }
}

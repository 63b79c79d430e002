//! One connection of `whoami`: an HTTP request, lines, or a raw echo.

use std::io;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, copy, sink,
};
use tokio::time::sleep;

use super::header::{self, Told};
use super::options::Options;
use crate::model::Peer;
use crate::net::within;

/// Longest line in bytes, without its end.
pub(super) const LINE_MAX: usize = 8 * 1024;

/// Largest head of an HTTP request after its first line, in bytes.
const HEAD_MAX: u64 = 64 * 1024;

/// From an HTTP request's first line to the end of its head. Before the first line there is no deadline: a quiet client
/// of a line protocol may stay.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// For how long, and up to how many bytes, what a client still sends after its answer is read.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_MAX: u64 = 64 * 1024 * 1024;

/// Buffer of the raw echo, in bytes.
const RAW_BUFFER: usize = 64 * 1024;

/// The two ends of a connection, and what a PROXY header says of them.
pub(super) struct Ends {
    pub(super) peer: Peer,
    pub(super) local: Peer,
    pub(super) told: Option<Told>,
}

/// Serves one connection until the client's FIN, or until its HTTP request is answered.
pub(super) async fn serve<S>(stream: S, mut ends: Ends, options: &Options) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if options.raw {
        return echo(stream, options.delay).await;
    }
    let (told, stream) = header::take(stream).await?;
    ends.told = told;
    let mut stream = BufReader::new(BufWriter::new(stream));
    let mut line = Vec::new();
    read_piece(&mut stream, &mut line).await?;
    match request_line(&line) {
        Some(request) => answer_request(stream, request, &ends, options).await,
        None => answer_lines(stream, line, &ends, options).await,
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, delay: Duration) -> io::Result<()> {
    let mut buffer = vec![0; RAW_BUFFER];
    let mut delay = Some(delay);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        if let Some(delay) = delay.take() {
            sleep(delay).await;
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

type Buffered<S> = BufReader<BufWriter<S>>;

/// Reads up to and with the next line end, or [`LINE_MAX`] bytes, or to the end. Nothing is left in `line` at the end.
async fn read_piece<S>(stream: &mut Buffered<S>, line: &mut Vec<u8>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    line.clear();
    stream.take(LINE_MAX as u64).read_until(b'\n', line).await?;
    Ok(())
}

async fn answer_lines<S>(
    mut stream: Buffered<S>,
    mut line: Vec<u8>,
    ends: &Ends,
    options: &Options,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let prefix = prefix(options, &ends.peer, ends.told.as_ref());
    let mut cut = false;
    while !line.is_empty() {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        // The line end of a line whose last piece was full: already answered.
        let answered = cut && text.is_empty();
        cut = text.len() == line.len();
        if !answered {
            sleep(options.delay).await;
            stream.write_all(prefix.as_bytes()).await?;
            stream.write_all(text).await?;
            stream.write_all(b"\n").await?;
        }
        // Lines that came together are answered together; no answer waits for a line that is not there yet.
        if !options.delay.is_zero() || !stream.buffer().contains(&b'\n') {
            stream.flush().await?;
        }
        read_piece(&mut stream, &mut line).await?;
    }
    stream.shutdown().await
}

/// The prefix of each answer that is not a page.
pub(super) fn prefix(options: &Options, peer: &Peer, told: Option<&Told>) -> String {
    match told {
        Some(told) => match told.client() {
            Some(client) => format!("{}[{client} through {peer}]: ", options.name),
            None => format!("{}[{peer}, {told}]: ", options.name),
        },
        None => format!("{}[{peer}]: ", options.name),
    }
}

/// An HTTP request's first line (RFC 9112, section 3): `method SP target SP HTTP/1.x`.
struct Request {
    line: String,
    /// HEAD: the answer has no body.
    head_only: bool,
}

fn request_line(line: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    let mut words = text.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let minor = version.strip_prefix("HTTP/1.")?;
    let is_request = words.next().is_none()
        && !method.is_empty()
        && method.bytes().all(token)
        && !target.is_empty()
        && minor.len() == 1
        && minor.bytes().all(|c| c.is_ascii_digit());
    is_request.then(|| Request { line: text.to_owned(), head_only: method == "HEAD" })
}

async fn answer_request<S>(
    mut stream: Buffered<S>,
    request: Request,
    ends: &Ends,
    options: &Options,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = within(HEAD_TIME, read_head(&mut stream)).await;
    sleep(options.delay).await;
    let (status, page) = match head {
        Ok(Ok(host)) => ("200 OK", page(&request, host.as_deref(), ends, options)),
        Ok(Err(HeadError::TooLarge)) => {
            ("431 Request Header Fields Too Large", format!("the head is over {HEAD_MAX} bytes\n"))
        }
        Ok(Err(HeadError::Read(error))) => return Err(error),
        Err(_) => ("408 Request Timeout", "the head of the request did not end in time\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !request.head_only {
        stream.write_all(page.as_bytes()).await?;
    }
    // Closing with unread input makes the kernel send RST, which can destroy the answer on its way (RFC 9112, 9.6).
    stream.shutdown().await?;
    let rest = async { copy(&mut stream.take(DRAIN_MAX), &mut sink()).await };
    match within(DRAIN_TIME, rest).await {
        Ok(drained) => drained.map(drop),
        Err(_) => Ok(()),
    }
}

fn page(request: &Request, host: Option<&str>, ends: &Ends, options: &Options) -> String {
    let told = ends.told.as_ref().map(|told| format!("proxy header: {told}\n")).unwrap_or_default();
    format!(
        "name: {}\nrequest: {}\nhost: {}\npeer: {}\nlocal: {}\n{told}",
        options.name,
        request.line,
        host.unwrap_or("(none)"),
        ends.peer,
        ends.local,
    )
}

enum HeadError {
    TooLarge,
    Read(io::Error),
}

/// Reads to the end of the head, or to the client's FIN, and finds the `Host`.
async fn read_head<S>(stream: &mut Buffered<S>) -> Result<Option<String>, HeadError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = stream.take(HEAD_MAX);
    let mut line = Vec::new();
    let mut host = None;
    loop {
        line.clear();
        head.read_until(b'\n', &mut line).await.map_err(HeadError::Read)?;
        if !line.ends_with(b"\n") && head.limit() == 0 {
            return Err(HeadError::TooLarge);
        }
        if line.trim_ascii().is_empty() {
            return Ok(host);
        }
        let text = String::from_utf8_lossy(&line);
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            host = Some(value.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::request_line;

    #[test]
    fn only_a_whole_request_line_is_http() {
        for line in ["GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.0\n", "M-SEARCH * HTTP/1.1\r\n"] {
            let request = request_line(line.as_bytes()).unwrap();
            assert_eq!(request.line, line.trim_end());
        }
        let others = [
            "",
            "\r\n",
            "GET /\r\n",
            "GET / HTTP/1.1",
            "GET  / HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / HTTP/1.1 x\r\n",
            "PRI * HTTP/2.0\r\n",
            "G(T / HTTP/1.1\r\n",
            "hello you HTTP/1.\r\n",
        ];
        for line in others {
            assert!(request_line(line.as_bytes()).is_none(), "{line:?}");
        }
        assert!(request_line(b"GET /\xff HTTP/1.1\r\n").is_none());
    }
}

//! Requests and answers as the calls see them: parsed by hyper, bounded, and without what no call needs.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::net::within;

/// How long a body may take to arrive.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);
/// The error for a client that was too slow.
pub(super) const LATE: &str = "the request did not come in time";
/// The largest body of a client that may change what runs, in bytes: as large as the largest file that is read.
const BODY: usize = crate::files::LARGEST as usize;
/// The largest body of any other client, in bytes. Larger ones are read one at a time.
pub(super) const SMALL_BODY: usize = 64 * 1024;

/// One request, without its body.
#[derive(Debug)]
pub(super) struct Request {
    pub method: Method,
    /// Without its query.
    pub path: String,
    pub query: String,
    pub host: Option<String>,
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`: how far the page that a browser shows is from this address.
    pub fetch_site: Option<String>,
    /// The token of `Authorization: Bearer`.
    pub token: Option<String>,
    pub accept: String,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
    /// Header fields besides those that every answer has.
    pub more: &'static [(HeaderName, &'static str)],
}

/// Why a request reaches no call: the status of the answer, and its error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrong {
    pub status: u16,
    pub error: &'static str,
}

impl Wrong {
    const fn new(status: u16, error: &'static str) -> Self {
        Wrong { status, error }
    }
}

impl Request {
    /// Reads the head of a request.
    pub fn of(head: &Parts) -> Result<Request, Wrong> {
        if ![Method::GET, Method::HEAD, Method::POST].contains(&head.method) {
            return Err(Wrong::new(405, "the methods are GET, HEAD and POST"));
        }
        let field = |name| field(&head.headers, name);
        if field(header::TRANSFER_ENCODING)?.is_some() {
            return Err(Wrong::new(411, "send the body with its length (Content-Length)"));
        }
        let authority = head.uri.authority().map(ToString::to_string);
        let bearer = field(header::AUTHORIZATION)?;
        let bearer = bearer.as_deref().and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        Ok(Request {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            // RFC 9112, 3.2.2: the authority of an absolute form counts, and not `Host`.
            host: authority.or(field(header::HOST)?),
            origin: field(header::ORIGIN)?,
            fetch_site: field(HeaderName::from_static("sec-fetch-site"))?,
            token: bearer.map(|(_, token)| token.trim().to_owned()),
            accept: field(header::ACCEPT)?.unwrap_or_default(),
        })
    }
}

/// The value of a header field that may appear only once.
fn field(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Wrong> {
    let mut found = headers.get_all(name).iter();
    let Some(first) = found.next() else { return Ok(None) };
    let text = std::str::from_utf8(first.as_bytes()).ok().filter(|_| found.next().is_none());
    let text = text.ok_or(Wrong::new(400, "a field of the request comes twice, or is no text"))?;
    Ok(Some(text.trim().to_owned()))
}

/// The length of a body, as its head says.
pub(super) fn length(body: &Incoming) -> u64 {
    body.size_hint().lower()
}

/// Reads the whole body of a request. `changes`: it is that of a client that may change what runs.
pub(super) async fn read(body: Incoming, changes: bool) -> Result<Vec<u8>, Wrong> {
    let (most, too_large) = match changes {
        true => (BODY, Wrong::new(413, "the body is larger than 16 MiB")),
        false => (SMALL_BODY, Wrong::new(413, "the body is larger than 64 KiB")),
    };
    let length = length(&body);
    if length > most as u64 {
        return Err(too_large);
    }
    let mut body = Limited::new(body, most);
    let whole = async {
        // In one piece: the allocator gives it back at once, and keeps thousands of small ones.
        let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => too_large,
                false => Wrong::new(400, "the body was cut off"),
            })?;
            whole.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        Ok(whole)
    };
    within(BODY_TIME, whole).await.unwrap_or(Err(Wrong::new(408, LATE)))
}

/// An answer as hyper sends it. `close`: the connection ends with it.
pub(super) fn response(answer: Answer, close: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    add(header::CONTENT_TYPE, answer.kind);
    add(header::CACHE_CONTROL, "no-store");
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    for (name, value) in answer.more {
        add(name.clone(), value);
    }
    if close {
        add(header::CONNECTION, "close");
    }
    response
}

/// The error type of the service: it never fails.
pub(super) type Never = Infallible;

//! Texts of a web server: ETag, and the long poll of Consul.

use std::path::Path;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::access::{AT_MOST, LARGEST_SIGNATURE, StoreAccess};
use super::why::{Trouble, too_large, trouble};

use crate::model::{HttpUrl, StorePart};
use crate::state::pull::{Fetch, Fetched, Mark};

/// In the answer of Consul: the index of the state that it shows.
const INDEX: &str = "x-consul-index";

/// The largest file with a token, in bytes.
const LARGEST_TOKEN: usize = 16 * 1024;

pub(super) fn fetch(agent: &Agent, access: &StoreAccess, url: &HttpUrl, fetch: &Fetch) -> Fetched {
    let wait = fetch.wait.zip(fetch.mark.index);
    let query = wait.map(|(wait, index)| format!("index={index}&wait={}s", wait.as_secs()));
    // Consul adds up to a sixteenth.
    let limit = AT_MOST + wait.map_or(Duration::ZERO, |(wait, _)| wait + wait / 16);
    let request = agent.get(url.of(fetch.part, query.as_deref().unwrap_or_default()));
    let mut request = request.config().timeout_global(Some(limit)).build();
    if let Some(etag) = &fetch.mark.etag {
        request = request.header("If-None-Match", etag);
    }
    match access.token.as_deref().map(token).transpose() {
        Ok(None) => {}
        Ok(Some(token)) => request = request.header("Authorization", format!("Bearer {token}")),
        Err(why) => return Fetched::Failed(why),
    }
    let largest = match fetch.part {
        StorePart::Text => access.largest,
        StorePart::Signature => LARGEST_SIGNATURE,
    };
    match request.call() {
        Ok(response) => answer(response, fetch, largest),
        Err(error) => failed(trouble(error, largest)),
    }
}

fn failed(trouble: Trouble) -> Fetched {
    match trouble {
        Trouble::Failed(why) | Trouble::Late(why) => Fetched::Failed(why),
        Trouble::Unfit(why) => Fetched::Unfit(why),
    }
}

fn answer(mut response: Response<Body>, fetch: &Fetch, largest: u64) -> Fetched {
    let headers = response.headers();
    let mark = Mark {
        etag: text(headers, "etag").map(ToOwned::to_owned),
        // 0 would not wait.
        index: text(headers, INDEX).and_then(|index| index.parse().ok()).filter(|index| *index > 0),
    };
    match response.status().as_u16() {
        200 => {}
        304 => return Fetched::Same(Mark { etag: mark.etag.or_else(|| fetch.mark.etag.clone()), ..mark }),
        404 | 410 => return Fetched::Missing,
        status @ (401 | 403 | 407) => {
            return Fetched::Failed(format!(
                "the store answers {status}: is --token-file or --client-cert right?"
            ));
        }
        status @ (408 | 429 | 500..) => return Fetched::Failed(format!("the store answers {status}")),
        status => return Fetched::Unfit(format!("the store answers {status}")),
    }
    if text(headers, "content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html")) {
        return Fetched::Unfit(
            "the store answers with a web page (text/html), not with a route table".to_owned(),
        );
    }
    // ureq knows no length of an empty body.
    let length: Option<u64> = text(headers, "content-length").and_then(|length| length.trim().parse().ok());
    if length.is_none() && text(headers, "transfer-encoding").is_none() {
        return Fetched::Unfit(
            "the answer of the store has no length: a torn one could not be told".to_owned(),
        );
    }
    if length.is_some_and(|length| length > largest) {
        return Fetched::Unfit(too_large(largest));
    }
    match response.body_mut().with_config().limit(largest).read_to_vec() {
        Ok(_) if mark.index.is_some() && mark.index == fetch.mark.index => Fetched::Same(mark),
        Ok(content) => Fetched::Content(content.into(), mark),
        Err(error) => failed(trouble(error, largest)),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The token of a file, without the line end that editors add.
fn token(path: &Path) -> Result<String, String> {
    let wrong = |what: &str| format!("the token of {}: {what}", path.display());
    let read = std::fs::metadata(path).and_then(|file| match file.is_file() {
        true => std::fs::read(path),
        false => Err(std::io::ErrorKind::InvalidInput.into()),
    });
    let bytes = read.map_err(|error| wrong(&error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is no text"))?;
    let token = text.trim();
    match token.is_empty()
        || token.len() > LARGEST_TOKEN
        || token.chars().any(|c| c.is_control() || !c.is_ascii())
    {
        true => Err(wrong("it is no line of text that can stand in a header")),
        false => Ok(token.to_owned()),
    }
}

//! Keys of etcd, through the JSON gateway that every member has: a range, then a watch from the next revision on.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::{Agent, Body};

use super::access::{AT_MOST, LARGEST_SIGNATURE};
use super::why::{Trouble, trouble};

use crate::model::{EtcdKey, StorePart};
use crate::state::pull::{Fetch, Fetched, Mark};

/// Requests to one member.
pub(super) struct Call<'c> {
    pub agent: &'c Agent,
    pub key: &'c EtcdKey,
    pub endpoint: &'c str,
    /// The largest text, in bytes.
    pub largest: u64,
}

/// The answer to a range. 64-bit numbers are text in the JSON of protobuf.
#[derive(Deserialize)]
struct Ranged {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
    mod_revision: String,
}

/// One message of a watch.
#[derive(Deserialize)]
struct Watched {
    result: Option<WatchResult>,
}

#[derive(Deserialize)]
struct WatchResult {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<serde_json::Value>,
}

/// What a watch has seen.
enum Seen {
    Change,
    Quiet,
}

impl Call<'_> {
    pub fn fetch(&self, fetch: &Fetch) -> Fetched {
        if let Some((wait, revision)) = fetch.wait.zip(fetch.mark.index) {
            match self.watch(fetch.part, revision, wait) {
                Ok(Seen::Quiet) => return Fetched::Same(fetch.mark.clone()),
                Ok(Seen::Change) => {}
                Err(trouble) => return failed(trouble),
            }
        }
        self.range(fetch).unwrap_or_else(failed)
    }

    fn range(&self, fetch: &Fetch) -> Result<Fetched, Trouble> {
        let largest = match fetch.part {
            StorePart::Text => self.largest,
            StorePart::Signature => LARGEST_SIGNATURE,
        };
        let body = serde_json::json!({ "key": self.encoded(fetch.part) });
        let mut answer = self.post("/v3/kv/range", &body, AT_MOST, largest)?;
        // In base64, with what stands around it.
        let most = largest / 3 * 4 + 4096;
        let text = answer.with_config().limit(most).read_to_vec().map_err(|error| trouble(error, largest))?;
        let ranged: Ranged = parsed(&text)?;
        let revision = number(&ranged.header.revision)?;
        let mark = Mark { etag: None, index: Some(revision) };
        let Some(found) = ranged.kvs.first() else { return Ok(Fetched::Missing) };
        let changed = number(&found.mod_revision)?;
        // A revision that goes back is another history, as after a restore.
        if fetch.mark.index.is_some_and(|known| changed <= known && known <= revision) {
            return Ok(Fetched::Same(mark));
        }
        let value = BASE64_STANDARD.decode(&found.value).map_err(|_| strange())?;
        Ok(Fetched::Content(value.into(), mark))
    }

    /// Waits for a change after a revision.
    fn watch(&self, part: StorePart, revision: u64, wait: Duration) -> Result<Seen, Trouble> {
        let start = revision.saturating_add(1).to_string();
        let body =
            serde_json::json!({ "create_request": { "key": self.encoded(part), "start_revision": start } });
        let mut answer = self.post("/v3/watch", &body, wait, self.largest)?;
        let most = self.largest / 3 * 4 + 4096;
        let mut lines = BufReader::new(answer.as_reader().take(most));
        let (mut line, mut created) = (Vec::new(), false);
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return Err(Trouble::Failed("etcd ends its watch".to_owned())),
                Ok(_) => {}
                Err(error) => match trouble(error.into(), self.largest) {
                    // It answers, and has nothing to say.
                    Trouble::Late(_) if created => return Ok(Seen::Quiet),
                    trouble => return Err(trouble),
                },
            }
            created = true;
            let watched: Watched = parsed(&line)?;
            // Canceled, or an error: the revision may be compacted. What there is now is asked for.
            match watched.result {
                Some(result) if !result.canceled && result.events.is_empty() => {}
                _ => return Ok(Seen::Change),
            }
        }
    }

    fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
        limit: Duration,
        largest: u64,
    ) -> Result<Body, Trouble> {
        let request = self.agent.post(self.key.call(self.endpoint, path));
        let request = request.config().timeout_global(Some(limit)).build().content_type("application/json");
        let response = request.send(body.to_string()).map_err(|error| trouble(error, largest))?;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            status => Err(Trouble::Failed(format!("etcd answers {status}"))),
        }
    }

    fn encoded(&self, part: StorePart) -> String {
        BASE64_STANDARD.encode(self.key.of(part))
    }
}

fn failed(trouble: Trouble) -> Fetched {
    match trouble {
        Trouble::Failed(why) | Trouble::Late(why) => Fetched::Failed(why),
        Trouble::Unfit(why) => Fetched::Unfit(why),
    }
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(text).map_err(|_| strange())
}

fn number(text: &str) -> Result<u64, Trouble> {
    text.parse().map_err(|_| strange())
}

fn strange() -> Trouble {
    Trouble::Unfit("the answer is not that of etcd: is the endpoint that of clients?".to_owned())
}

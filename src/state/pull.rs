//! The puller of one node: a text is fetched from a store, compared, verified, compiled and written, in this order; whatever
//! goes wrong, the file stays as it is.
//!
//! [`Pull::next`] says what to do, and the call for its result says what is worth telling. The store is asked for the
//! signature where there must be one, and for the text only when this node is to take it: so the nodes that wait for their
//! stage cost the store next to nothing.

mod pace;
#[cfg(test)]
mod signed_tests;
mod stage;
#[cfg(test)]
mod tests;
mod undo;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::StorePart;
use crate::wire::minisign::{PublicKey, Signature, SignatureError};
use pace::{LONG_POLL, Pace};
use stage::takes;
use values::{Undone, missing};

pub use values::{Fetch, Fetched, Mark, News, Offer, OnDisk, PullSettings, Standing, Todo, Trouble};

/// A refused text is looked at again after this long: what was missing may lie outside of it, such as a certificate.
const AGAIN: Duration = Duration::from_secs(30);

/// An answer to a long poll that comes so soon was none: the store does not wait.
const TOO_SOON: Duration = Duration::from_secs(1);

/// The state of one puller.
#[derive(Clone, Debug)]
pub struct Pull {
    key: Option<PublicKey>,
    node: String,
    pace: Pace,
    phase: Phase,
    /// By what the text and the signature were known when they came last.
    text_mark: Mark,
    signature_mark: Mark,
    /// The text of the file, as far as this puller knows.
    on_disk: Option<Arc<[u8]>>,
    /// The signature that the store has, and the last one that was settled.
    signed: Option<Signed>,
    /// What was undone, and is not taken again. It has the serial of `standing`: a later one forgets it.
    undone: Option<Undone>,
    /// What is not taken although it was offered: there is no need to look at it again before then.
    declined: Option<(Offer, Instant)>,
    /// Failures in a row.
    failures: u32,
    standing: Standing,
}

/// A signature that came from the store.
#[derive(Clone, Debug)]
struct Signed {
    bytes: Arc<[u8]>,
    signature: Signature,
    /// Whether it needs a look at the text.
    open: bool,
    /// A text did not belong to it. A publisher uploads one after the other, so it counts once it is seen twice.
    doubted: bool,
}

/// Where the puller is.
#[derive(Clone, Debug)]
enum Phase {
    /// Asks for a part then.
    Until(Instant, StorePart),
    /// Waits for an answer since then.
    Asked(Instant, Fetch),
    Checking(Offer),
    Writing(Offer),
}

impl Pull {
    /// A puller that begins at some moment within its interval, and at once if there is no file.
    pub fn new(settings: PullSettings, on_disk: OnDisk, now: Instant) -> Pull {
        let PullSettings { key, node, every, seed } = settings;
        let mut pace = Pace::new(every, seed);
        let first = if on_disk.text.is_some() { pace.spread() } else { Duration::ZERO };
        let standing = Standing { serial: on_disk.serial, ..Standing::default() };
        let mut pull = Pull {
            key,
            node,
            pace,
            phase: Phase::Until(now, StorePart::Text),
            text_mark: Mark::default(),
            signature_mark: Mark::default(),
            on_disk: on_disk.text,
            signed: None,
            undone: None,
            declined: None,
            failures: 0,
            standing,
        };
        pull.ask_at(now + first);
        pull
    }

    /// What is known of the store.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Todo {
        match &self.phase {
            Phase::Until(then, _) if now < *then => Todo::Wait(*then - now),
            Phase::Until(_, part) => {
                let fetch = self.fetch(*part);
                self.phase = Phase::Asked(now, fetch.clone());
                Todo::Fetch(fetch)
            }
            Phase::Asked(_, fetch) => Todo::Fetch(fetch.clone()),
            Phase::Checking(offer) => Todo::Check(offer.text.clone()),
            Phase::Writing(offer) => Todo::Write(offer.clone()),
        }
    }

    fn fetch(&self, part: StorePart) -> Fetch {
        let mark = match part {
            StorePart::Text => &self.text_mark,
            StorePart::Signature => &self.signature_mark,
        };
        // After a failure the first answer comes at once: it tells that the store is back.
        let settled = self.failures == 0 && self.signed.as_ref().is_none_or(|signed| !signed.open);
        let waits = part == self.first() && settled && mark.index.is_some() && self.declined.is_none();
        Fetch { part, mark: mark.clone(), wait: waits.then_some(LONG_POLL) }
    }

    /// The part that tells of a change.
    fn first(&self) -> StorePart {
        if self.key.is_some() { StorePart::Signature } else { StorePart::Text }
    }

    fn ask_at(&mut self, then: Instant) {
        self.phase = Phase::Until(then, self.first());
    }

    /// Asks again: at once where the store has waited for a change, else after the interval.
    fn rest(&mut self, asked: Instant, waited: bool, now: Instant) {
        let pause = match waited && now.saturating_duration_since(asked) >= TOO_SOON {
            true => Duration::ZERO,
            // The store can wait: what begins to is spread.
            false if self.fetch(self.first()).wait.is_some() => self.pace.spread(),
            false => self.pace.between(),
        };
        self.ask_at(now + pause);
    }

    /// Takes in an answer.
    pub fn fetched(&mut self, fetched: Fetched, now: Instant) -> Vec<News> {
        let Phase::Asked(asked, fetch) = self.phase.clone() else { return Vec::new() };
        let Fetch { part, wait, .. } = fetch;
        let mut news = Vec::new();
        if let Fetched::Failed(why) = fetched {
            self.failures += 1;
            match &mut self.standing.away {
                Some(trouble) => trouble.why = why,
                None => {
                    self.standing.away = Some(Trouble { since: now, why: why.clone() });
                    news.push(News::Away(why));
                }
            }
            let pause = self.pace.backoff(self.failures);
            self.ask_at(now + pause);
            return news;
        }
        if self.standing.away.take().is_some() {
            news.push(News::Back);
        }
        match fetched {
            Fetched::Missing => news.extend(self.unusable(part, missing(part), now)),
            Fetched::Unfit(why) | Fetched::Failed(why) => news.extend(self.unusable(part, why, now)),
            Fetched::Same(mark) => {
                self.failures = 0;
                *self.mark_of(part) = mark;
                self.rest(asked, wait.is_some(), now);
                news.extend(self.same(part, now));
            }
            Fetched::Content(content, mark) => {
                self.failures = 0;
                *self.mark_of(part) = mark;
                // It was no wait without a change: the next one begins at some moment.
                self.rest(asked, false, now);
                news.extend(match part {
                    StorePart::Signature => self.signature(content, now),
                    StorePart::Text => self.text(content, now),
                });
            }
        }
        news
    }

    fn mark_of(&mut self, part: StorePart) -> &mut Mark {
        match part {
            StorePart::Text => &mut self.text_mark,
            StorePart::Signature => &mut self.signature_mark,
        }
    }

    /// The store has no such thing, or another one.
    fn unusable(&mut self, part: StorePart, why: String, now: Instant) -> Option<News> {
        *self.mark_of(part) = Mark::default();
        if part == StorePart::Signature {
            self.signed = None;
        }
        self.failures += 1;
        let pause = self.pace.backoff(self.failures);
        self.ask_at(now + pause);
        self.refuse(why, now)
    }

    /// A part is as it was.
    fn same(&mut self, part: StorePart, now: Instant) -> Option<News> {
        if let Some((offer, _)) = self.declined.take_if(|(_, again)| now >= *again) {
            self.phase = Phase::Checking(offer);
            return None;
        }
        match (part, &mut self.signed) {
            (StorePart::Signature, Some(Signed { open: true, .. })) => {
                self.phase = Phase::Until(now, StorePart::Text);
                None
            }
            (StorePart::Text, Some(signed)) if signed.doubted => {
                self.refuse(format!("the signature: {}", SignatureError::OtherText), now)
            }
            _ if self.standing.refused.is_none() => {
                self.standing.confirmed = Some(now);
                None
            }
            _ => None,
        }
    }

    /// A signature came. Nothing of it is verified before its text is there: what it claims can only keep this node from
    /// fetching the text, which the store could do anyway.
    fn signature(&mut self, bytes: Arc<[u8]>, now: Instant) -> Option<News> {
        if self.signed.as_ref().is_some_and(|signed| signed.bytes == bytes) {
            return self.same(StorePart::Signature, now);
        }
        (self.declined, self.signed) = (None, None);
        let signature = match Signature::read(&bytes) {
            Ok(signature) => signature,
            Err(error) => return self.refuse(format!("the signature: {error}"), now),
        };
        let release = signature.release;
        self.standing.offered = Some(release);
        let has = self.standing.serial;
        let again = has == Some(release.serial);
        if again && let Some(undone) = &self.undone {
            let why = undone.why.clone();
            return self.refuse(why, now);
        }
        if let Some(has) = has.filter(|has| release.serial < *has) {
            let why = format!(
                "serial {} is not above {has}, which this node has: sign with a higher one",
                release.serial
            );
            return self.refuse(why, now);
        }
        // Only the stage is another.
        let is_that_of = |(key, text): (&PublicKey, &Arc<[u8]>)| key.verify(text, &signature).is_ok();
        let settled = again && self.key.as_ref().zip(self.on_disk.as_ref()).is_some_and(is_that_of);
        let open = !settled && (again || takes(&self.node, release));
        self.signed = Some(Signed { bytes, signature, open, doubted: false });
        if settled {
            return self.agree(now);
        }
        if open {
            self.text_mark = Mark::default();
            let pause = self.pace.spread();
            self.phase = Phase::Until(now + pause, StorePart::Text);
            return None;
        }
        self.agree(now);
        Some(News::Held(release))
    }

    /// A text came.
    fn text(&mut self, text: Arc<[u8]>, now: Instant) -> Option<News> {
        if self.key.is_none() {
            return self.judge(Offer { text, signature: None, serial: None }, now);
        }
        let (Some(key), Some(signed)) = (&self.key, &mut self.signed) else { return None };
        if let Err(error) = key.verify(&text, &signed.signature) {
            let seen = std::mem::replace(&mut signed.doubted, true);
            signed.open = error == SignatureError::OtherText;
            if signed.open && !seen {
                return None;
            }
            return self.refuse(format!("the signature: {error}"), now);
        }
        signed.doubted = false;
        signed.open = false;
        let serial = signed.signature.release.serial;
        let offer = Offer { text, signature: Some(signed.bytes.clone()), serial: Some(serial) };
        // If there is no file any more, only its signature, the store has it still.
        let another = self.on_disk.as_ref().is_some_and(|text| *text != offer.text);
        if self.standing.serial == Some(serial) && another {
            let why = format!(
                "serial {serial} is the one of the file, whose text is another: sign with a higher one"
            );
            return self.refuse(why, now);
        }
        self.judge(offer, now)
    }

    /// A text that may be written.
    fn judge(&mut self, offer: Offer, now: Instant) -> Option<News> {
        let known = offer.serial.is_none() || offer.serial == self.standing.serial;
        if known && self.on_disk.as_ref() == Some(&offer.text) {
            self.declined = None;
            return self.agree(now);
        }
        if let Some(undone) = self.undone.as_ref().filter(|undone| undone.text == offer.text) {
            let why = undone.why.clone();
            return self.refuse(why, now);
        }
        // It was looked at, and the interval is not over.
        if self.declined.as_ref().is_some_and(|(declined, again)| declined.text == offer.text && now < *again)
        {
            return None;
        }
        self.phase = Phase::Checking(offer);
        None
    }

    /// This node has what the store has.
    fn agree(&mut self, now: Instant) -> Option<News> {
        self.standing.confirmed = Some(now);
        self.standing.refused.take().map(|_| News::Healed)
    }

    /// Takes in whether a text compiles; if not, why.
    pub fn checked(&mut self, result: Result<(), String>, now: Instant) -> Vec<News> {
        let Phase::Checking(offer) = self.phase.clone() else { return Vec::new() };
        match result {
            Ok(()) => {
                self.phase = Phase::Writing(offer);
                Vec::new()
            }
            Err(why) => self.decline(offer, why, now),
        }
    }

    /// Takes in whether a text was written; if not, why.
    pub fn written(&mut self, result: Result<(), String>, now: Instant) -> Vec<News> {
        let Phase::Writing(offer) = self.phase.clone() else { return Vec::new() };
        if let Err(why) = result {
            return self.decline(offer, why, now);
        }
        self.declined = None;
        if self.undone.as_ref().is_some_and(|undone| Some(&undone.text) == self.on_disk.as_ref()) {
            self.on_disk = Some(offer.text);
            let pause = self.pace.between();
            self.ask_at(now + pause);
            return Vec::new();
        }
        self.on_disk = Some(offer.text);
        self.standing.serial = offer.serial.or(self.standing.serial);
        self.undone = None;
        let release = self.signed.as_ref().map(|signed| signed.signature.release);
        let pause = self.pace.spread();
        self.ask_at(now + pause);
        self.agree(now);
        vec![News::Took(release)]
    }

    fn decline(&mut self, offer: Offer, why: String, now: Instant) -> Vec<News> {
        self.declined = Some((offer, now + AGAIN));
        let pause = self.pace.between();
        self.ask_at(now + pause);
        self.refuse(why, now).into_iter().collect()
    }

    /// Notes why this node does not take what the store has. It is told once.
    fn refuse(&mut self, why: String, now: Instant) -> Option<News> {
        match &self.standing.refused {
            Some(trouble) if trouble.why == why => None,
            earlier => {
                let since = earlier.as_ref().map_or(now, |trouble| trouble.since);
                self.standing.refused = Some(Trouble { since, why: why.clone() });
                Some(News::Refused(why))
            }
        }
    }
}

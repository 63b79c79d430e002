//! What a health check says to an upstream, step by step, and what it has heard.

use crate::model::Step;

/// Most bytes of an answer that are kept.
const LONGEST: usize = 16 * 1024;

/// One run through the steps of a check.
#[derive(Debug)]
pub struct Talk<'s> {
    steps: &'s [Step],
    /// The index of the step that is due.
    at: usize,
    /// What has come since the last [`Step::Send`].
    heard: Vec<u8>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due<'s> {
    /// Send these bytes, then ask again.
    Send(&'s [u8]),
    /// Read, and pass on what came with [`Talk::hears`].
    Answer,
    /// Nothing: every step is done.
    Nothing,
}

/// Why no more of an answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The peer has ended its direction.
    End,
    /// The time of the check is over.
    Late,
    /// The socket has failed, for this reason.
    Error(String),
}

impl<'s> Talk<'s> {
    /// Begins with the first step.
    pub fn new(steps: &'s [Step]) -> Self {
        Talk { steps, at: 0, heard: Vec::new() }
    }

    /// What is due now. A step that sends counts as done once it is returned.
    pub fn due(&mut self) -> Due<'s> {
        while let Some(step) = self.steps.get(self.at) {
            match step {
                Step::Send(payload) => {
                    self.at += 1;
                    // What came before is no answer to it.
                    self.heard.clear();
                    return Due::Send(payload.bytes());
                }
                Step::Expect(expect) if expect.is_in(&self.heard) => self.at += 1,
                Step::Expect(_) => return Due::Answer,
            }
        }
        Due::Nothing
    }

    /// Takes what came.
    pub fn hears(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// Whether so much has come that what is expected will not.
    pub fn is_full(&self) -> bool {
        self.heard.len() >= LONGEST
    }

    /// Forgets what came: with UDP an answer is one datagram.
    pub fn hears_anew(&mut self) {
        self.heard.clear();
    }

    /// Why the step that is due cannot be done, for a person.
    pub fn fault(&self, why: Silence) -> String {
        let heard = self.heard.as_slice();
        let what = match (why, heard) {
            (Silence::End, []) => "it closed without an answer".to_owned(),
            (Silence::Late, []) => "no answer in time".to_owned(),
            (Silence::Late, heard) => format!("it answered {} and no more in time", shown(heard)),
            (Silence::End, heard) => format!("it answered {}", shown(heard)),
            (Silence::Error(why), _) => why,
        };
        match (self.steps, self.steps.get(self.at)) {
            // The only question: nobody asks which one is meant.
            ([Step::Expect(_)] | [Step::Send(_), Step::Expect(_)], _) | (_, None) => what,
            (_, Some(step)) => format!("step {}, {step}: {what}", self.at + 1),
        }
    }
}

/// Quotes the beginning of an answer, for a person.
fn shown(answer: &[u8]) -> String {
    const SHOWN: usize = 60;
    let more = if answer.len() > SHOWN { "..." } else { "" };
    let text = String::from_utf8_lossy(answer.get(..SHOWN).unwrap_or(answer)).into_owned();
    format!("{text:?}{more}")
}

#[cfg(test)]
mod tests;

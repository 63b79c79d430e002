//! Held connections: opened, used once, and then silent; at the end each must still answer.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Job, done, ready};
use crate::sys::{self, Sources};
use crate::wire::{self, ECHO};

/// `connections`; `tls`: the proxy ends it; `hello`: each begins with a ClientHello.
pub fn run(job: &Job) -> Result<()> {
    let connections = job.count("connections")?;
    let tls = if job.number("tls")? == 1 { Some(super::tls::config(false)?) } else { None };
    let first = if job.number("hello")? == 1 { wire::client_hello(wire::NAME) } else { vec![ECHO] };
    let mut sources = Sources::new(job.run);
    let mut held: Vec<Box<dyn Talk>> = Vec::with_capacity(connections);
    for id in 0..connections {
        let stream = sources.connect(job.target)?;
        sys::blocking(&stream, Duration::from_secs(10))?;
        let mut stream: Box<dyn Talk> = match &tls {
            Some(config) => Box::new(super::tls::session(stream, config)?),
            None => Box::new(stream),
        };
        one_byte(&mut stream, &first).with_context(|| format!("opening connection {id}"))?;
        held.push(stream);
    }
    ready()?;
    for (id, stream) in held.iter_mut().enumerate() {
        one_byte(stream, &[ECHO]).with_context(|| format!("held connection {id}"))?;
    }
    done(&json!({ "alive": held.len() }))
}

/// A connection, plain or with TLS.
trait Talk: Read + Write {}

impl<T: Read + Write> Talk for T {}

fn one_byte(stream: &mut Box<dyn Talk>, question: &[u8]) -> Result<()> {
    let mut byte = [0];
    stream.write_all(question)?;
    stream.flush()?;
    stream.read_exact(&mut byte)?;
    ensure!(byte == [ECHO], "a wrong byte came back");
    Ok(())
}

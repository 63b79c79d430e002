//! Held connections: opened, used once, and then silent; at the end each must still answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Job, done, ready};
use crate::sys::{self, Sources};
use crate::wire::ECHO;

/// `connections`.
pub fn run(job: &Job) -> Result<()> {
    let connections = job.count("connections")?;
    let mut sources = Sources::new(job.run);
    let mut held = Vec::with_capacity(connections);
    for id in 0..connections {
        let stream = sources.connect(job.target)?;
        sys::blocking(&stream, Duration::from_secs(10))?;
        one_byte(&stream).with_context(|| format!("opening connection {id}"))?;
        held.push(stream);
    }
    ready()?;
    for (id, stream) in held.iter().enumerate() {
        one_byte(stream).with_context(|| format!("held connection {id}"))?;
    }
    done(&json!({ "alive": held.len() }))
}

fn one_byte(mut stream: &TcpStream) -> Result<()> {
    let mut byte = [0];
    stream.write_all(&[ECHO])?;
    stream.read_exact(&mut byte)?;
    ensure!(byte == [ECHO], "a wrong byte came back");
    Ok(())
}

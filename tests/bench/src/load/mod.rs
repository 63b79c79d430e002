//! The load: one process per job. It connects, warms up, prints `ready`, waits for a line, works, prints one line of
//! JSON, and keeps its connections until standard input ends, so that their end is not measured. Anything that goes
//! wrong ends it with an error.

mod bulk;
mod churn;
mod datagrams;
mod hold;
mod ping;
mod tls;

use std::collections::HashMap;
use std::io::{BufRead, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use std::{process, thread};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What to do: `KIND TARGET RUN [name=number]...`.
pub struct Job {
    kind: String,
    target: SocketAddr,
    run: u16,
    numbers: HashMap<String, u64>,
}

impl Job {
    fn parse(args: &[String]) -> Result<Self> {
        let [kind, target, run, numbers @ ..] = args else { bail!("load KIND TARGET RUN [name=number]...") };
        let numbers = numbers
            .iter()
            .map(|text| {
                let (name, number) = text.split_once('=').context("name=number")?;
                Ok((name.to_owned(), number.parse().with_context(|| format!("`{text}`"))?))
            })
            .collect::<Result<_>>()?;
        Ok(Job { kind: kind.clone(), target: target.parse()?, run: run.parse()?, numbers })
    }

    /// A number of the job; it must be there.
    fn number(&self, name: &str) -> Result<u64> {
        self.numbers.get(name).copied().with_context(|| format!("the job says nothing of `{name}`"))
    }

    fn count(&self, name: &str) -> Result<usize> {
        Ok(usize::try_from(self.number(name)?)?)
    }
}

/// Does one job, as the driver tells it over standard input.
pub fn run(args: &[String]) -> Result<()> {
    let job = Job::parse(args)?;
    let limit = Duration::from_secs(job.number("limit")?);
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("load: not done after {limit:?}");
        process::exit(1);
    });
    match job.kind.as_str() {
        "ping" => ping::run(&job),
        "churn" => churn::run(&job),
        "bulk" => bulk::run(&job),
        "hold" => hold::run(&job),
        "datagrams" => datagrams::run(&job),
        "handshakes" => tls::handshakes(&job),
        "tls-bulk" => tls::bulk(&job),
        "one-way" => datagrams::one_way(&job),
        other => bail!("no such load: {other}"),
    }
}

/// Says that all is prepared, and waits until the work may begin.
fn ready() -> Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        process::exit(0);
    }
    Ok(())
}

/// Hands in the result, and waits until the driver has looked at the proxy.
fn done(result: &Value) -> Result<()> {
    println!("{result}");
    std::io::stdout().flush()?;
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

//! The set-up of each program: its best honest one for this work, with logs off.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::extra;
use crate::program::{Kind, Setup, Variant, find};

/// nginx's stream module in Debian's package.
pub const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The command that serves `listen`.
pub fn command(kind: &Kind, listen: SocketAddr, setup: Setup) -> Result<Command> {
    match kind {
        Kind::Portway(variant) => portway(variant, listen, setup),
        Kind::Haproxy { bin, splice } => haproxy((bin, *splice), listen, setup),
        Kind::Nginx { bin, half_close } => nginx((bin, *half_close), listen, setup),
        Kind::Realm { bin } => {
            let mut command = Command::new(bin);
            command.args(["-l", &listen.to_string(), "-r", &setup.upstream.to_string()]);
            Ok(command)
        }
        Kind::Floor => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["floor", &listen.to_string(), &setup.upstream.to_string()]);
            Ok(command)
        }
        Kind::Direct => bail!("a direct connection has no program"),
    }
}

/// A file of a program.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn portway(variant: &Variant, listen: SocketAddr, setup: Setup) -> Result<Command> {
    let mut words: Vec<String> = Vec::new();
    if variant.file {
        let udp = if setup.udp { "protocol = \"udp\"\n" } else { "" };
        let (extra, more) = extra::portway(listen, setup)?;
        let keys: String = variant.keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = format!(
            "[log]\nlevel = \"warn\"\naccess = \"off\"\n\n\
             [[route]]\nname = \"bench\"\nlisten = \"{listen}\"\nupstream = \"{}\"\n{udp}{extra}{keys}{more}",
            setup.upstream
        );
        let path = write(setup.dir, "portway.toml", &text)?;
        words.extend(["run".to_owned(), "--config".to_owned(), path.display().to_string()]);
    } else {
        let udp = if setup.udp { ["--protocol", "udp"].as_slice() } else { &[] };
        words.extend(udp.iter().map(|word| (*word).to_owned()));
        words.insert(0, "forward".to_owned());
        words.extend([listen.to_string(), setup.upstream.to_string()]);
    }
    words.extend(variant.args.iter().cloned());
    let mut command = Command::new(&variant.bin);
    command.args(&words).envs(variant.env.iter().cloned());
    Ok(command)
}

fn haproxy((bin, splice): (&Path, bool), listen: SocketAddr, setup: Setup) -> Result<Command> {
    let splice = if splice { "  option splice-request\n  option splice-response\n" } else { "" };
    let (lines, words) = extra::haproxy(setup)?;
    let bind = extra::haproxy_bind(setup)?;
    let upstream = setup.upstream;
    let text = format!(
        "global\n  nbthread {}\n  maxconn {}\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n{splice}\
         frontend bench\n  bind {listen}{bind}\n{lines}  default_backend bench\n\
         backend bench\n  server one {upstream}{words}\n\
         backend named\n  server one {upstream}\n",
        setup.cores,
        setup.connections + 500
    );
    let path = write(setup.dir, "haproxy.cfg", &text)?;
    let mut command = Command::new(bin);
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn nginx((bin, half_close): (&Path, bool), listen: SocketAddr, setup: Setup) -> Result<Command> {
    let dir = setup.dir.display();
    // A build of one's own has the module within.
    let module = if find("nginx").as_deref() == Some(bin) && Path::new(STREAM_MODULE).exists() {
        format!("load_module {STREAM_MODULE};\n")
    } else {
        String::new()
    };
    let listen = if setup.udp { format!("{listen} udp rcvbuf=4m") } else { format!("{listen} backlog=4096") };
    let (lines, words, upstream) = extra::nginx(setup)?;
    let half_close = if half_close && !setup.udp { "proxy_half_close on; " } else { "" };
    let listen = if extra::is_tls(setup) { format!("{listen} ssl") } else { listen };
    let text = format!(
        "{module}daemon off;\nworker_processes {};\npid {dir}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections {}; }}\n\
         stream {{\n  access_log off;\n  {lines}  server {{\n    listen {listen};\n    {words}{half_close}proxy_pass {upstream};\n    \
         proxy_buffer_size 16k;\n    proxy_timeout 1h;\n  }}\n}}\n",
        setup.cores,
        2 * setup.connections + 1000
    );
    let path = write(setup.dir, "nginx.conf", &text)?;
    let mut command = Command::new(bin);
    command.args(["-e", "stderr", "-p"]).arg(setup.dir).arg("-c").arg(path);
    Ok(command)
}

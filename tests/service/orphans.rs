//! The first process of a container takes away the orphans of others.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::launch::{PORTWAY, echo, lacks, lacks_root, until};

/// The processes whose parent is this one, zombies included.
fn children(process: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

struct Container {
    unshare: Child,
    /// Its first process, as it is called outside.
    first: u32,
}

impl Container {
    fn of(args: &[&str]) -> Container {
        let unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", PORTWAY])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let first = || children(unshare.id()).first().copied();
        until("it has a first process, and that handles SIGTERM", || {
            first().is_some_and(|first| crate::harness::proc::Process(first).catches(libc::SIGTERM))
        });
        let first = first().unwrap();
        Container { unshare, first }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.unshare.kill());
        drop(self.unshare.wait());
    }
}

#[test]
fn the_first_process_of_a_container_leaves_no_zombies() {
    if lacks_root() || lacks(&["unshare", "nsenter"]) {
        return;
    }
    let upstream = echo().to_string();
    let commands: [&[&str]; 2] =
        [&["forward", "127.0.0.1:0", &upstream], &["whoami", "--listen", "127.0.0.1:0"]];
    for args in commands {
        let args: Vec<String> = args.iter().map(|word| word.replace("127.0.0.1:0", &free())).collect();
        let container = Container::of(&args.iter().map(String::as_str).collect::<Vec<_>>());
        // As `docker exec` does; each leaves three behind.
        for _ in 0..2 {
            let first = container.first.to_string();
            let script = "for i in 1 2 3; do sleep 1000 & done";
            let left = Command::new("nsenter").args(["-t", &first, "-p", "-m", "sh", "-c", script]).status();
            assert!(left.unwrap().success());
        }
        until("it has the orphans", || children(container.first).len() == 6);
        for orphan in children(container.first) {
            kill_process(Pid::from_raw(orphan.cast_signed()).unwrap(), Signal::KILL).unwrap();
        }
        until("they are taken away", || children(container.first).is_empty());
    }
}

fn free() -> String {
    crate::harness::launch::own_address(7).to_string()
}

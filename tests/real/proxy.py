"""The proxy under test, seen from outside: /proc, and what it logs."""

import collections
import json
import os
import re
import time
from pathlib import Path

# States as /proc/net/tcp has them.
LISTEN = "0A"
HALF_CLOSED = {"08": "CLOSE-WAIT", "05": "FIN-WAIT-2"}


class Proxy:
    """A running `portway run --config FILE`."""

    def __init__(self, machine, program, file, routes):
        self.machine, self.routes, self.file = machine, routes, file
        self.log = machine.dir / "portway.log"
        self.process = machine.start("portway", [program, "run", "--config", file], ready=self.is_up)
        self.proc = Path("/proc") / str(self.process.pid)

    def is_up(self):
        """Whether all that it listens on at its start accepts: it listens on nothing before it can."""
        return any(message == "ready" for message in self.messages())

    def records(self):
        """The JSON lines of its log; a line that is none (a panic) as a message."""
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"level": "NOT JSON", "message": line}

    def messages(self):
        """The messages of its log, in order."""
        return [record.get("message", "") for record in self.records()]

    def count(self, beginning):
        """How many of its messages begin so."""
        return sum(1 for message in self.messages() if message.startswith(beginning))

    def connections(self):
        """The lines of its access log: one per connection, after its end."""
        return [json.loads(line) for line in self.routes.access_log.read_text().splitlines()]

    def fds(self):
        """How many file descriptors of each kind it has."""
        kinds = collections.Counter()
        for fd in (self.proc / "fd").iterdir():
            try:
                target = os.readlink(fd)
            except FileNotFoundError:
                continue
            kinds[re.sub(r":\[\d+\]$", "", target) if not target.startswith("/") else "file"] += 1
        return kinds

    def inodes(self):
        """The inodes of its sockets."""
        found = set()
        for fd in (self.proc / "fd").iterdir():
            try:
                target = os.readlink(fd)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
        return found

    def listeners(self):
        """What it listens on: TCP port with family, or path, to the socket's inode."""
        mine, found = self.inodes(), {}
        for family, local, _, state, inode in tcp_sockets():
            if state == LISTEN and inode in mine:
                found[f"{family} {local}"] = inode
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            # Flags 10000: it listens (__SO_ACCEPTCON).
            if len(fields) == 8 and fields[3] == "00010000" and fields[6] in mine:
                found[fields[7]] = fields[6]
        return found

    def half_closed(self, listening, upstream):
        """Sockets in CLOSE-WAIT or FIN-WAIT-2 that are its own, or that it left to the kernel: those with one of its
        ports on this side, or one of the upstreams' on the other."""
        mine = self.inodes()
        return [
            f"{family} local port {local}, remote port {remote}, {HALF_CLOSED[state]}"
            for family, local, remote, state, inode in tcp_sockets()
            if state in HALF_CLOSED and (inode in mine or local in listening or remote in upstream)
        ]

    def memory(self, field="VmRSS"):
        """Resident memory in MB (10^6 bytes): now, or `VmHWM` at most so far."""
        found = re.search(rf"^{field}:\s+(\d+) kB", (self.proc / "status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 / 1e6

    def cpu(self):
        """Seconds of processor time so far."""
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tcp_sockets():
    """Each TCP socket of this host: family, local port, remote port, state, inode."""
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            local, remote = (int(fields[at].rsplit(":", 1)[1], 16) for at in (1, 2))
            yield family, local, remote, fields[3], fields[9]


def settled(look, want, seconds):
    """Polls until `look()` is `want`; returns the last value seen, so that a report can show it."""
    end = time.monotonic() + seconds
    while (value := look()) != want and time.monotonic() < end:
        time.sleep(0.1)
    return value

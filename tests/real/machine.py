"""The machine under the test: its programs, free ports, a temporary folder, processes that end with the run."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

# Each program that is used, and the Debian package that brings it.
PROGRAMS = {
    "pg_ctlcluster": "postgresql",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
    "nginx": "nginx-light",
    "curl": "curl",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "iperf3": "iperf3",
    "vim": "vim",
}


class Fault(Exception):
    """The test cannot be run, or a server of it did not come up. The text says what to do."""


def find(program):
    """The path of a program, also where only root has its folder in PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def install_what_is_missing():
    """Leaves a machine that has every program of PROGRAMS, or raises."""
    packages = sorted({package for program, package in PROGRAMS.items() if not find(program)})
    if packages and subprocess.run([HERE / "packages", *packages]).returncode != 0:
        raise Fault(f"these packages are needed: {' '.join(packages)}")
    still = [program for program in PROGRAMS if not find(program)]
    if still:
        raise Fault(f"not found after the installation: {' '.join(still)}")


def wait_until(condition, seconds, what):
    """Polls until `condition()` is true, and returns its value; raises after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Fault(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def connects(address):
    """Whether something accepts at `(host, port)` or at the path of a Unix socket."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(address)
            return True
        except OSError:
            return False


class Machine:
    """A temporary folder and the processes started in it. `close` ends and removes all of it."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="portway-real-"))
        self.dir.chmod(0o755)
        self.running = []
        self.undo = []
        self.given = set()
        self.root = os.geteuid() == 0
        # PostgreSQL refuses to run as root; the other servers do not need it either.
        self.unprivileged = {"user": "nobody", "group": "nogroup", "extra_groups": []} if self.root else {}

    def folder(self, name, unprivileged=False):
        """A new folder; one for a server belongs to the user that servers run as."""
        path = self.dir / name
        path.mkdir(parents=True)
        if unprivileged and self.root:
            shutil.chown(path, self.unprivileged["user"], self.unprivileged["group"])
        return path

    def port(self, count=1):
        """The first of `count` free ports, outside the range from which clients get their own: a route that is
        added again must not find its port taken by some client's connection."""
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        outside = [p for p in range(10_000, 65_500) if p + count <= first or p > last]
        for port in random.sample(outside or range(10_000, 65_500), k=100):
            ports = range(port, port + count)
            if self.given.isdisjoint(ports) and all(map(free, ports)):
                self.given.update(ports)
                return port
        raise Fault("no free port found")

    def start(self, name, argv, ready=None, unprivileged=False, **options):
        """Starts a program that runs until the end; its output goes to NAME.log. Returns once `ready()`."""
        log = self.dir / f"{name}.log"
        options = {**(self.unprivileged if unprivileged else {}), "cwd": self.dir, **options}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, **options,
            )
        self.running.append((name, process))
        if ready:
            def up():
                if process.poll() is not None:
                    raise Fault(f"{name} ended at its start:\n{tail(log)}")
                return ready()
            wait_until(up, 60, f"{name} is ready (its log: {tail(log)})")
        return process

    def stop(self, process, signal_number=signal.SIGTERM, seconds=10):
        """Asks one process to end, and returns its exit code; None when it had to be killed."""
        if process.poll() is None:
            process.send_signal(signal_number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def close(self):
        """Ends everything, also what daemons started in sessions of their own, and removes the folder."""
        for name, process in reversed(self.running):
            # PostgreSQL: SIGINT is its fast shutdown, SIGTERM waits for clients.
            self.stop(process, signal.SIGINT if name == "postgres" else signal.SIGTERM)
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if int(entry.name) != os.getpid() and str(self.dir).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                pass
        for step in self.undo:
            step()
        shutil.rmtree(self.dir, ignore_errors=True)


def free(port):
    """Whether nobody listens on the port, on any address of this host."""
    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((any_address, port))
            except OSError:
                return False
    return True


def tail(path, lines=40):
    """The last lines of a file, for a person."""
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)


def say(text):
    """One line of progress."""
    print(text, flush=True)
    sys.stdout.flush()

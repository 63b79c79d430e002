"""The programs that talk through the routes. Each is run again and again until the time is over, and judged by its
own exit code, its own figures, and hashes."""

import dataclasses
import json
import random
import re
import shutil
import subprocess
import threading
import time

from machine import wait_until
from servers import BIG, MEGABYTE, SMALL_FILES

GRACE = 120  # seconds that a program has beyond the end, before it counts as hung


@dataclasses.dataclass
class Row:
    """One line of the final table: what ran, its figures, and what was wrong with it."""

    what: str
    figures: str = ""
    faults: list = dataclasses.field(default_factory=list)


class Failed(Exception):
    """A program did not end, or ended badly: what else it says does not count."""


class Clients:
    """Where the clients connect (`at`: the routes, or the servers themselves), and until when."""

    def __init__(self, machine, servers, at, seconds):
        self.machine, self.servers, self.at, self.seconds = machine, servers, at, seconds
        self.rows, self.threads = [], []
        self.dir = machine.folder("clients")

    def start(self):
        """Starts all of them beside each other. Rows are there once `join` returns."""
        self.until = time.monotonic() + self.seconds
        for what, client in (
            ("pgbench -i, -c 20, -C -c 20", self.pgbench),
            ("redis-benchmark -c 50", lambda row: self.redis_benchmark(row, [])),
            ("redis-benchmark -c 50, reconnecting", lambda row: self.redis_benchmark(row, ["-k", "0"])),
            ("redis-cli, one connection", lambda row: self.redis_cli(row, self.at.redis)),
            ("redis-cli, its route comes and goes", lambda row: self.redis_cli(row, self.at.guest)),
            ("curl, keep-alive", self.curl_keep_alive),
            ("curl, 20 at a time, IPv6", self.curl_parallel),
            ("curl, Unix listener", self.curl_unix),
            ("curl, its route's upstream changes", self.curl_changing),
            ("curl, 100 MB down", lambda row: self.curl_down(row, slow=False)),
            ("curl, 100 MB down, slowly", lambda row: self.curl_down(row, slow=True)),
            ("curl, 100 MB up", lambda row: self.curl_up(row, slow=False)),
            ("curl, 100 MB up, slowly", lambda row: self.curl_up(row, slow=True)),
            ("rsync over ssh, both ways", self.rsync),
            ("iperf3, -R, --bidir", self.iperf),
        ):
            row = Row(what)
            self.rows.append(row)
            thread = threading.Thread(target=self.guarded, args=(client, row))
            thread.start()
            self.threads.append(thread)

    def join(self):
        """Waits for all of them."""
        for thread in self.threads:
            thread.join()

    def guarded(self, client, row):
        """A client whose own fault is a fault of its row."""
        try:
            client(row)
        except Failed as error:
            row.faults.append(str(error))
        except Exception as error:
            row.faults.append(f"{type(error).__name__}: {error}")

    def left(self):
        """Seconds until the end, never below 0."""
        return max(0.0, self.until - time.monotonic())

    def again(self, row):
        """Once, and then until the time is over or something failed."""
        yield 1
        count = 1
        while self.left() > 0 and not row.faults:
            count += 1
            yield count

    def run(self, argv):
        """Runs a program to its end; raises when its exit code is bad, or when it does not end."""
        argv = [str(a) for a in argv]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=self.left() + GRACE)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(argv)}: still runs {GRACE} s after the end; {error.stderr or b''}") from error
        if done.returncode != 0:
            output = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")[-1000:]
            raise Failed(f"{argv[0]} ended with code {done.returncode}: {output}")
        done.text = done.stdout.decode(errors="replace")
        return done

    # In programs of their own, like all that is work: threads of Python share one lock.

    def sha256(self, path):
        """The hash of a file."""
        return self.run(["sha256sum", path]).text.split()[0]

    def same(self, sent, arrived):
        """Compares two folders with all that is in them, byte by byte."""
        self.run(["diff", "--recursive", "--brief", sent, arrived])

    # PostgreSQL

    def pgbench(self, row):
        """pgbench -i, then 20 clients that stay and, beside them, 20 that connect for every transaction."""
        host, port = self.at.postgres
        program = [self.servers.postgres_bin / "pgbench", "-h", host, "-p", port, "-U", "postgres"]
        self.run([*program, "-i", "-q", "-s", "5", "postgres"])
        figures = {}

        def bench(name, extra):
            seconds = max(5, round(self.left()))
            done = self.run([*program, "-n", "-c", "20", "-j", "2", "-T", seconds, *extra, "postgres"])
            processed = re.search(r"transactions actually processed: (\d+)", done.text)
            failed = re.search(r"failed transactions: (\d+)", done.text)
            if not processed or not failed or int(processed[1]) == 0 or int(failed[1]) != 0:
                row.faults.append(f"pgbench {name}: {done.text[-1000:]}")
            elif b"abort" in done.stderr or b"error" in done.stderr:
                row.faults.append(f"pgbench {name}: {done.stderr[-1000:]}")
            figures[name] = f"{processed[1] if processed else '?'} transactions {name}"

        beside = threading.Thread(target=self.guarded, args=(lambda _: bench("reconnecting", ["-C"]), row))
        beside.start()
        bench("on 20 connections", [])
        beside.join()
        row.figures = ", ".join(figures.values()) + ("" if row.faults else ", 0 failed")

    # Redis

    def redis_benchmark(self, row, extra):
        """Several commands, small and large values, single and pipelined."""
        host, port = self.at.redis
        plans = [["-t", "ping,set,get,incr", "-d", "3"], ["-t", "set,get,lpush,rpop,lrange_100", "-d", "2000"],
                 ["-t", "mset,sadd,hset,zadd", "-d", "100"]]
        if not extra:
            plans.append(["-t", "set,get", "-P", "16", "-d", "1000"])
        commands = requests = 0
        for count in self.again(row):
            number = 2000
            done = self.run(["redis-benchmark", "-h", host, "-p", port, "-c", "50", "-n", number, "--csv",
                                  *extra, *plans[count % len(plans)]])
            said = [line for line in done.stderr.decode().splitlines() if not line.startswith("WARNING: Keepalive")]
            if said or "rror" in done.text:
                row.faults.append(f"redis-benchmark: {said} {done.text[-500:]}")
            results = done.text.count("\n") - 1  # below the heading, one line per command
            commands += results
            requests += results * number
        row.figures = f"{requests} requests of {commands} tests, 0 errors"

    def redis_cli(self, row, address):
        """One connection through all edits, asked for its number four times a second: a new connection would have a
        new one, since redis-cli connects again without a word."""
        host, port = address
        done = self.run(["redis-cli", "-h", host, "-p", port, "-r", max(1, int(self.seconds * 4)), "-i", "0.25",
                              "client", "id"])
        answers = done.text.split("\n")[:-1]
        if not answers or len(set(answers)) != 1 or not answers[0].isdigit():
            row.faults.append(f"not one connection: its numbers were {sorted(set(answers))}")
        row.figures = f"{len(answers)} answers, one connection"

    # HTTP

    def curl(self, row, urls, options, connects):
        """One run of curl, each answer 200 (or 201, 204 for PUT) by HTTP/1.1, on this many connections: curl tries
        again by itself on a connection that ended while it was kept, and the count shows that."""
        done = self.run([
            "curl", "--silent", "--show-error", "--fail", "--http1.1", "--write-out",
            "answer %{http_code} %{http_version} %{num_connects}\\n", *options, *urls])
        answers = re.findall(r"^answer (\d+) (\S+) (\d+)$", done.text, re.MULTILINE)
        bad = [answer for answer in answers if answer[0] not in ("200", "201", "204") or answer[1] != "1.1"]
        made = sum(int(answer[2]) for answer in answers)
        if bad or not answers:
            row.faults.append(f"curl: {bad[:3]} {done.stderr[-500:]}")
        elif made != connects:
            row.faults.append(f"curl: {made} connections for {len(answers)} requests, expected {connects}")
        return len(answers)

    def small_files(self, row, name, host, options, connects):
        """All small files in one run of curl, and compared; returns how many were right."""
        folder = self.dir / name
        folder.mkdir(exist_ok=True)
        self.curl(row, [f"http://{host}/small/[0-{SMALL_FILES - 1}]"],
                  [*options, "--output", f"{folder}/#1"], connects)
        self.same(self.servers.web_root / "small", folder)
        shutil.rmtree(folder)
        return SMALL_FILES

    def curl_keep_alive(self, row):
        """200 requests on one connection."""
        right = sum(self.small_files(row, "keep-alive", f"127.0.0.1:{self.at.web}", [], 1) for _ in self.again(row))
        row.figures = f"{right} requests, {SMALL_FILES} per connection, contents equal"

    def curl_parallel(self, row):
        """Twenty requests at a time, and a connection for each."""
        options = ["--parallel", "--parallel-immediate", "--parallel-max", "20", "--header", "Connection: close"]
        right = sum(self.small_files(row, "parallel", f"[::1]:{self.at.web}", options, SMALL_FILES)
                    for _ in self.again(row))
        row.figures = f"{right} requests, as many connections, contents equal"

    def curl_unix(self, row):
        """As keep-alive, through a Unix socket."""
        options = ["--unix-socket", self.at.web_unix]
        right = sum(self.small_files(row, "unix", "web", options, 1) for _ in self.again(row))
        row.figures = f"{right} requests, {SMALL_FILES} per connection, contents equal"

    def curl_changing(self, row):
        """Small requests, ten on a connection, through the route whose upstream and timeout are edited."""
        requests = 0
        host, port = self.at.changing
        for _ in self.again(row):
            requests += self.curl(row, [f"http://{host}:{port}/small/[0-9]"], ["--output", "/dev/null"], 1)
        row.figures = f"{requests} requests, 10 per connection"

    def rate(self, slow):
        """curl's option for a transfer that lasts through most of the run."""
        return ["--limit-rate", str(int(BIG / (self.seconds * 0.8)))] if slow else []

    def curl_down(self, row, slow):
        """The big file, hashed."""
        file = self.dir / f"down-{slow}"
        for count in [1] if slow else self.again(row):
            self.curl(row, [f"http://127.0.0.1:{self.at.web}/big"], [*self.rate(slow), "--output", file], 1)
            if not file.exists() or self.sha256(file) != self.servers.big_sha256:
                row.faults.append("the file that arrived is another one")
        file.unlink(missing_ok=True)
        row.figures = f"{count} x {BIG // MEGABYTE} MB, hashes equal"

    def curl_up(self, row, slow):
        """The big file, hashed where nginx put it."""
        name = f"up/slow-{slow}"
        for count in [1] if slow else self.again(row):
            self.curl(row, [f"http://[::1]:{self.at.web}/{name}"],
                      [*self.rate(slow), "--upload-file", self.servers.web_root / "big", "--output", "/dev/null"], 1)
            arrived = self.servers.web_root / name
            if not arrived.exists() or self.sha256(arrived) != self.servers.big_sha256:
                row.faults.append("the file that arrived is another one")
            arrived.unlink(missing_ok=True)
        row.figures = f"{count} x {BIG // MEGABYTE} MB, hashes equal"

    # rsync

    def rsync(self, row):
        """A tree of 2,000 small files and one of 50 MB: up, and down again from what arrived."""
        host, port = self.at.ssh
        keys = self.servers.ssh_folder
        ssh = (f"ssh -F none -p {port} -i {keys}/user -o IdentitiesOnly=yes -o BatchMode=yes "
               f"-o UserKnownHostsFile={keys}/known_hosts -o HostKeyAlias=portway-real -o StrictHostKeyChecking=yes")
        tree, up, down = (self.dir / f"rsync-{name}" for name in ("tree", "up", "down"))
        plant(tree)
        for count in self.again(row):
            remote = f"{self.servers.ssh_user}@{host}:{up}/"
            for source, target in ((f"{tree}/", remote), (remote, f"{down}/")):
                self.run(["rsync", "--archive", "--whole-file", "-e", ssh, source, target])
            for arrived in (up, down):
                self.same(tree, arrived)
                shutil.rmtree(arrived)
        row.figures = f"{2 * count} trees of 2,001 files and 60 MB, contents equal"

    # iperf3

    def iperf(self, row):
        """Forward, reverse, both at once. iperf3 tells the two streams of --bidir apart by the order in which they
        arrive, so behind any proxy they can swap (one time in five was seen); both ends of one then send, both ends of
        the other wait, and exactly 0 bytes are received each way: tried again on that result alone."""
        host, port = self.at.iperf
        modes = {"forward": ["-P", "4"], "-R": ["-R", "-P", "4"], "--bidir": ["--bidir"]}
        moved, swapped = dict.fromkeys(modes, 0), 0
        for _ in self.again(row):
            for mode, options in modes.items():
                received = self.iperf_received(host, port, options)
                for _ in range(9):
                    if mode != "--bidir" or received != [0, 0]:
                        break
                    swapped += 1
                    received = self.iperf_received(host, port, options)
                if len(received) != (2 if mode == "--bidir" else 1) or not all(received):
                    row.faults.append(f"iperf3 {mode}: {received} bytes arrived")
                moved[mode] += sum(received)
        row.figures = ", ".join(f"{mode} {count / 1e9:.1f} GB" for mode, count in moved.items())
        row.figures += f" ({swapped} times swapped)" if swapped else ""

    def iperf_received(self, host, port, options):
        """One test of two seconds: the bytes that arrived, in each direction it has."""
        wait_until(self.servers.iperf_is_idle, 20, "iperf3's server is ready for the next test")
        done = self.run(["iperf3", "-c", host, "-p", port, "-t", "2", "-J", *options])
        report = json.loads(done.text)
        if "error" in report:
            raise Failed(f"iperf3 {' '.join(options)}: {report['error']}")
        keys = ("sum_received", "sum_received_bidir_reverse")
        return [report["end"][key]["bytes"] for key in keys if key in report["end"]]


def plant(tree):
    """2,000 files of 0 to 10 KB in 20 folders, and one of 50 MB; the same each time."""

    generator = random.Random(2)
    for number in range(2000):
        folder = tree / str(number % 20)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(generator.randbytes(generator.randint(0, 10_000)))
    (tree / "large").write_bytes(generator.randbytes(50 * MEGABYTE))

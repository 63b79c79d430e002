"""What is required of the proxy beside the clients' own verdicts: before the clients, and after them."""

import collections
import signal
import subprocess
import time

from clients import Row
from editor import EVERY
from machine import Fault, connects, wait_until
from proxy import settled

REFUSED = "edit refused"
PATIENCE = 20  # seconds for an edit to be taken, and for sockets to be gone
GROWTH = 32  # MB of resident memory
PIPES = 128  # descriptors of the kernel pipes that rest until they are needed again
# How a connection of this test may end. A program that closes with unread input resets (RFC 2525, 2.17), without a
# proxy too: redis-benchmark and curl do as clients, and of the servers iperf3.
ENDINGS = {"client-closed", "upstream-closed", "client-reset"}


class Checks:
    """Looks at the proxy before the clients and after them."""

    def __init__(self, machine, servers, routes, proxy):
        self.machine, self.servers, self.routes, self.proxy = machine, servers, routes, proxy

    def before(self):
        """Uses every path once, so that what is made at first use exists, and notes what the proxy has."""
        if problems := self.unserved():
            raise Fault(f"right after its start: {problems}")
        self.fds = self.settled_fds()
        self.listeners = self.proxy.listeners()
        self.memory = self.proxy.memory()

    def unserved(self):
        """The routes that do not serve now, of those that stay."""
        host, port = self.routes.changing
        web, tries = f"127.0.0.1:{self.routes.web}", {}
        tries["redis"] = ["redis-cli", "-h", self.routes.redis[0], "-p", self.routes.redis[1], "-e", "ping"]
        tries["postgres"] = [self.servers.postgres_bin / "psql", "-h", self.routes.postgres[0], "-p",
                             self.routes.postgres[1], "-U", "postgres", "-qAtc", "select 1"]
        for name, extra in (("web", [web]), ("web on IPv6", [f"[::1]:{self.routes.web}"]),
                            ("web on its Unix socket", ["web", "--unix-socket", self.routes.web_unix]),
                            ("changing", [f"{host}:{port}"])):
            tries[name] = ["curl", "-gsSf", "-o", "/dev/null", f"http://{extra[0]}/small/9", *extra[1:]]
        problems = []
        for name, argv in tries.items():
            done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30)
            if done.returncode:
                problems.append(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
        if not connects(self.routes.ssh):
            problems.append("ssh: not connected")
        return problems

    def settled_fds(self):
        """The descriptors by kind, once they have stayed as they are for a second."""
        seen, since = self.proxy.fds(), time.monotonic()
        while time.monotonic() - since < 1:
            time.sleep(0.1)
            if (now := self.proxy.fds()) != seen:
                seen, since = now, time.monotonic()
        return seen

    def after(self, editor, upgrader, seconds):
        """All checks, one row each, in this order: the last ones end the proxy."""
        self.editor, self.upgrader, self.seconds = editor, upgrader, seconds
        checks = [
            ("upgrades", self.upgrades), ("edits are applied", self.edits), ("nonsense is refused, and changes nothing", self.nonsense),
            ("a good edit heals; the last one counts", self.last_edit), ("Redis' own figures", self.redis),
            ("listening sockets that stayed", self.same_listeners), ("descriptors, by kind", self.descriptors),
            ("sockets half closed", self.half_closed), ("memory", self.resident),
            ("how connections ended", self.endings), ("its log", self.log), ("SIGTERM", self.stop),
        ]
        rows = []
        for what, check in checks:
            row = Row(what)
            rows.append(row)
            try:
                check(row)
            except Exception as error:
                row.faults.append(f"{type(error).__name__}: {error}")
        return rows

    def upgrades(self, row):
        """New versions took over, with what was open."""
        upgrader = self.upgrader
        row.figures = (f"{len(upgrader.moved)} upgrades, {sum(upgrader.moved)} connections moved, {upgrader.refused} refused for nonsense "
                       f"in the file; no pause over {upgrader.pause * 1000:.0f} ms")
        row.faults += upgrader.faults
        if len(upgrader.moved) < max(1, self.seconds / 20) or not sum(upgrader.moved):
            row.faults.append(f"only {len(upgrader.moved)} upgrades in {self.seconds} s")

    def edits(self, row):
        """Three seconds at most between two of them that were applied, on average, however busy the machine is."""
        editor, applied = self.editor, self.proxy.count("reloaded")
        row.figures = (f"{editor.number} saved ({listed(editor.saved)}); {listed(editor.edits)}; "
                       f"{sum(editor.refusable.values())} nonsense; {applied} applied")
        if editor.error:
            row.faults.append(f"the editor: {editor.error!r}")
        if editor.number < self.seconds / EVERY / 2:
            row.faults.append(f"the editor saved only {editor.number} times in {self.seconds} s")
        if applied < self.seconds / 3:
            row.faults.append(f"only {applied} edits were applied in {self.seconds} s")

    def nonsense(self, row):
        """Each kind once more, with time to look at it. While everybody edited, some were overwritten unseen."""
        during = self.proxy.count(REFUSED)
        self.editor.good()
        self.wait_for_edits()
        before = self.proxy.listeners()
        kinds = self.routes.broken_texts()
        for kind, text in kinds.items():
            count = self.proxy.count(REFUSED)
            self.editor.in_place(text)
            if settled(lambda: self.proxy.count(REFUSED) > count, True, PATIENCE) is not True:
                row.faults.append(f"{kind}: not refused within {PATIENCE} s")
            if self.proxy.listeners() != before:
                row.faults.append(f"{kind}: the listening sockets are others now")
            row.faults += [f"{kind}: {problem}" for problem in self.unserved()]
        if self.editor.refusable and not during:
            row.faults.append(f"of {sum(self.editor.refusable.values())} while clients ran none was refused")
        row.figures = f"{during} refused while clients ran; then {len(kinds)} kinds, one by one"

    def wait_for_edits(self):
        """Adds the route `last`, or removes it, and waits until that is so: then every edit before it counts too."""
        self.routes.has_last = not self.routes.has_last
        self.editor.good()
        wait_until(lambda: connects(self.routes.last) == self.routes.has_last, PATIENCE,
                   f"the route `last` is {'there' if self.routes.has_last else 'gone'}")

    def last_edit(self, row):
        """After nonsense: a good edit is taken, a route that is added serves, and the text of the start comes back."""
        host, port = self.routes.last
        took = []
        for _ in range(3):
            present = self.routes.has_last
            self.routes.reset()
            self.routes.has_last = present
            began = time.monotonic()
            self.wait_for_edits()
            took.append(time.monotonic() - began)
            if self.routes.has_last:
                answer = subprocess.run(["redis-cli", "-h", host, "-p", str(port), "ping"], capture_output=True)
                if answer.stdout != b"PONG\n":
                    row.faults.append(f"the route that was added does not serve: {answer}")
        row.figures = "healed after {:.2f} s, a route added after {:.2f} s, removed after {:.2f} s".format(*took)
        row.faults += self.unserved()

    def redis(self, row):
        """No error reply, no rejected client, nobody left."""
        gone = settled(lambda: self.servers.redis_info()["connected_clients"].strip(), "1", PATIENCE)
        info = self.servers.redis_info()
        row.figures = ", ".join(f"{key.replace('_', ' ')} {info[key].strip()}" for key in
                                ("total_connections_received", "total_commands_processed", "total_error_replies"))
        if gone != "1":
            row.faults.append(f"{gone} clients are still connected, one of them is the one that asks")
        for key in ("total_error_replies", "rejected_connections"):
            if info[key].strip() != "0":
                row.faults.append(f"{key} {info[key].strip()}")

    def same_listeners(self, row):
        """The routes that stayed, also the one that changed, have the sockets they had at the start."""
        now = self.proxy.listeners()
        guest = f"tcp {self.routes.guest[1]}"
        stayed = {address: inode for address, inode in self.listeners.items() if address != guest}
        others = [address for address, inode in stayed.items() if now.get(address) != inode]
        if others:
            row.faults.append(f"other sockets than at the start: {others}")
        if now.keys() != self.listeners.keys():
            row.faults.append(f"at the start {sorted(self.listeners)}, now {sorted(now)}")
        row.figures = f"{len(stayed) - len(others)} of {len(stayed)} are the same inode"

    def descriptors(self, row):
        """As many of each kind as before the clients, but for pipes: those that bulk data used stay for the next."""
        def but_pipes(fds):
            return {kind: count for kind, count in fds.items() if kind != "pipe"}

        settled(lambda: but_pipes(self.proxy.fds()), but_pipes(self.fds), PATIENCE)
        now = self.proxy.fds()
        row.figures = listed(now)
        if but_pipes(now) != but_pipes(self.fds) or now["pipe"] > self.fds["pipe"] + PIPES:
            row.faults.append(f"before the clients: {listed(self.fds)}")

    def half_closed(self, row):
        """No CLOSE-WAIT, no FIN-WAIT-2 is left on either side of it."""
        routes, servers = self.routes, self.servers
        listening = {routes.web, *(address[1] for address in (
            routes.postgres, routes.redis, routes.ssh, routes.iperf, routes.changing, routes.guest, routes.last))}
        upstream = {servers.redis_port, servers.web_port, servers.ssh_port, servers.iperf_port}
        left = settled(lambda: self.proxy.half_closed(listening, upstream), [], PATIENCE)
        row.figures = f"{len(left)} in CLOSE-WAIT or FIN-WAIT-2"
        row.faults += left

    def resident(self, row):
        """What it has kept."""
        now = self.proxy.memory()
        row.figures = (f"{self.memory:.1f} MB before, {now:.1f} MB after, {self.proxy.memory('VmHWM'):.1f} MB at most; "
                       f"{self.proxy.cpu():.1f} s of processor time")
        if now > self.memory + GROWTH:
            row.faults.append(f"grew by more than {GROWTH} MB")

    def endings(self, row):
        """Each connection has one line in the access log, and none ended for a reason that is not its peers'."""
        def ids():
            return sorted(line["id"] for line in self.proxy.connections() if "id" in line)

        settled(lambda: ids() == list(range(1, len(ids()) + 1)), True, PATIENCE)
        lines = self.proxy.connections()
        if ids() != list(range(1, len(lines) + 1)):
            row.faults.append(f"{len(lines)} lines, but their numbers are not 1 to {len(lines)}")
        outcomes = collections.Counter(line.get("outcome", line.get("message")) for line in lines)
        row.figures = f"{len(lines)} connections: {listed(outcomes)}"
        for line in lines:
            expected = ENDINGS | {"upstream-reset"} if line.get("route") == "iperf" else ENDINGS
            if line.get("outcome") not in expected:
                row.faults.append(line)
        redis = sum(1 for line in lines if line.get("upstream") == f"127.0.0.1:{self.servers.redis_port}")
        received = int(self.servers.redis_info()["total_connections_received"]) - self.servers.redis_direct
        if redis != received:
            row.faults.append(f"{redis} lines tell of connections to Redis, Redis tells of {received}")

    def log(self, row):
        """Nothing but what an operator should see: no panic, no fault of the proxy itself."""
        levels = collections.Counter()
        for record in self.proxy.records():
            message = record.get("message", "")
            levels[record["level"].lower()] += 1
            # Some routes lead to a port that refuses, on purpose.
            refuses = message.startswith("upstream is down") and record["upstream"] == f"127.0.0.1:{self.servers.dead}"
            # An edit in place that takes the last route away looks like one whose writer was stopped.
            ends = message.endswith("if its writer was stopped there, save it again")
            # What stands in the file when somebody upgrades may be nonsense.
            nonsense = message.startswith(("not upgraded", "the file has faults:"))
            expected = refuses or ends or nonsense or message.startswith(REFUSED)
            if record["level"] not in ("INFO", "DEBUG", "TRACE") and not expected:
                row.faults.append(f"{record['level']}: {message}")
        del row.faults[5:]
        row.figures = f"lines: {listed(levels)}"

    def stop(self, row):
        """It ends by itself, with code 0, at once: it knows of no connection that is still open."""
        began, before = time.monotonic(), len(list(self.proxy.records()))
        code = self.machine.stop(self.proxy.process, signal.SIGTERM, PATIENCE)
        row.figures = f"ended after {time.monotonic() - began:.2f} s with code {code}"
        if code != 0:
            row.faults.append(f"code {code} (None: it had to be killed after {PATIENCE} s)")
        told = [record for record in list(self.proxy.records())[before:] if record.get("message") == "stopped"]
        if len(told) != 1 or told[0]["finished"] != 0 or told[0]["cut"] != 0:
            row.faults.append(f"with all clients gone it told of its end: {told}")


def listed(counter):
    """A counter in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))

"""deploy/fleet/compose.yaml, by `docker compose`: three nodes, etcd, two backends."""

import json
import os
import re
import signal
import subprocess
import tarfile
import threading

from clients import Comers, Flow, Talker, reach
from compose import Compose
from machine import REPOSITORY, Fault, find, wait_until
from scene import expect, until_served

FILE, ROUTES = "deploy/fleet/compose.yaml", "deploy/fleet/compose/edge.toml"
NODES = {1: 8081, 2: 8082, 3: 8083}


def store(engine, folder):
    """An image of Debian's etcd, by the name that the compose file has for it."""
    name, archive = re.search(r"image: (\S+etcd\S+)", (REPOSITORY / FILE).read_text())[1], folder / "etcd.tar"
    programs = [find(program) for program in ("etcd", "etcdctl")]
    linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in {*programs, *re.findall(r"(/\S+) \(0x", linked)}:
            tar.add(path)
    engine("import", "--change", "ENV PATH=/usr/bin", archive, name)


class Fleet(Compose):
    """Up, with the routes of the repository on every node."""

    def __init__(self, stage):
        super().__init__(stage, FILE)
        store(stage.engine, self.folder)
        self.good = (self.folder / ROUTES).read_text().replace('probation = "30s"', 'probation = "15s"')
        expect('"15s"' in self.good, "no probation")
        self.command("minisign", "-G", "-W", "-p", "deploy/fleet/compose/edge.pub", "-s", "edge.key")

    def __enter__(self):
        super().__enter__()
        try:
            wait_until(self.has_a_store, 30, "etcd")
            self.publish(self.good, 1, "100%")
            for node, port in NODES.items():
                self.until_serial(node, 1)
                until_served(port, "app-1", 30), until_served(port, "app-2", 30)
        except Exception as fault:
            log = self("logs", "--no-color")
            self.__exit__()
            raise Fault(f"{fault}; the log:\n{log}") from None
        return self

    def has_a_store(self):
        """Whether etcd answers."""
        try:
            return self("exec", "-T", "etcd", "etcdctl", "endpoint", "health")
        except Fault:
            return False

    def publish(self, text, serial, stage):
        """As the compose file says."""
        (self.folder / ROUTES).write_text(text)
        self.command("deploy/fleet/publish", ROUTES, str(serial), stage)

    def container(self, node):
        """Its container."""
        return self("ps", "--quiet", f"node-{node}").strip()

    def source(self, node):
        """What a node says of its store; nothing while it does not answer."""
        said = self.engine("exec", self.container(node), "/usr/bin/portway", "status", "--json", code=None)
        try:
            return json.loads(said)["source"]
        except ValueError:
            return {}

    def until_serial(self, node, serial):
        """Waits until a node has this text."""
        wait_until(lambda: self.source(node).get("serial") == serial, 40, f"node {node} has serial {serial}")

    def kill(self, node):
        """As a crash does."""
        os.kill(int(self.engine("inspect", "--format", "{{.State.Pid}}", self.container(node))), signal.SIGKILL)


def is_served(port):
    """Whether a new client is."""
    try:
        return bool(reach(port))
    except OSError:
        return False


def nodes_that_die_and_start_disturb_no_other(stage):
    """One is killed, one starts while the store is away, one is drained."""
    with Fleet(stage) as fleet:
        talkers = {node: Talker(port, "app-1") for node, port in NODES.items()}
        fleet.kill(1)
        wait_until(lambda: talkers[1].fault, 20, "the connection of a node that was killed ends")
        wait_until(lambda: is_served(NODES[1]), 40, "the engine starts it again")

        fleet("stop", "etcd")
        fleet("restart", "--timeout", "1", "node-2")
        wait_until(lambda: is_served(NODES[2]), 40, "a node starts while the store is away")
        until_served(NODES[2], "app-1", 20), until_served(NODES[2], "app-2", 20)
        expect(talkers[3].stop() is None, f"{talkers[3].fault}")
        fleet("start", "etcd")

        flow = Flow(NODES[3])
        stop = threading.Thread(target=fleet, args=("stop", "node-3"))
        stop.start()
        drained, served = fleet.container(3), 0
        while is_served(NODES[3]):
            served += 1
        expect(flow.say("still here") == flow.reached and stop.is_alive(), "a drained node ends its connections at once")
        flow.close()
        stop.join()
        code = stage.engine("inspect", "--format", "{{.State.ExitCode}}", drained).strip()
        expect(code == "0" and served > 0, f"code {code}, {served} clients were served while it was not ready")
        expect(is_served(NODES[1]) and is_served(NODES[2]), "the other nodes do not serve")
        return f"{talkers[3].lines} lines on a connection of another node; {served} clients came to a node that was not ready"


def an_edit_goes_out_in_stages_and_a_bad_one_stops_at_the_first(stage):
    """Signed by minisign. Where in its rollout a node stands depends on its name and on the serial alone."""
    with Fleet(stage) as fleet:
        talkers = [Talker(port, "app-2") for port in NODES.values()]
        edit = fleet.good.replace('"app-1:3000", ', "")
        for share, (newest, others) in {"30%": (1, (2, 3)), "70%": (2, (3,)), "100%": (3, ())}.items():
            fleet.publish(edit, 5, share)
            fleet.until_serial(newest, 5)
            for node in others:
                wait_until(lambda: fleet.source(node).get("offered_serial") == 5, 20, f"node {node} looks at {share}")
                expect(fleet.source(node)["serial"] == 1, f"node {node} has it at {share}")
        for port in NODES.values():
            expect({reach(port) for _ in range(30)} == {"app-2"}, "the edit is not in force")
        # Until then a worse one would take this one along.
        wait_until(lambda: "probation passed" in fleet.engine("logs", fleet.container(2)), 40, "node 2 keeps the edit")

        fleet.publish(edit.replace("app-2:3000", "app-2:3999"), 6, "40%")
        fleet.until_serial(2, 6)
        comers = [Comers(NODES[2]) for _ in range(5)]
        wait_until(lambda: all(comer.failed for comer in comers), 20, "clients of the node with the bad edit fail")
        wait_until(lambda: is_served(NODES[2]), 40, "the bad edit is undone")
        for comer in comers:
            comer.stop()
        failed = sum(len(comer.failed) for comer in comers)
        # The node writes the former text back once its long poll of etcd has an answer.
        refused = wait_until(lambda: fleet.source(2).get("refused"), 90, "the node says what was undone")["why"]
        expect("rolled back at" in refused, refused)
        for node in (1, 3):
            expect(fleet.source(node)["serial"] == 5, f"node {node} has the bad edit")
            expect({reach(NODES[node]) for _ in range(10)} == {"app-2"}, f"node {node} does not serve")
        fleet.publish(fleet.good, 7, "100%")
        for node, port in NODES.items():
            fleet.until_serial(node, 7)
            until_served(port, "app-1", 20)
        faults = [talker.stop() for talker in talkers]
        expect(not any(faults), f"{faults}")
        return f"the bad one failed {failed} clients of one node: {refused}"


TESTS = [nodes_that_die_and_start_disturb_no_other, an_edit_goes_out_in_stages_and_a_bad_one_stops_at_the_first]

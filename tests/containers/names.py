"""A backend that has another address than before, in a network whose resolver knows the names of its containers."""

import json
import time

from clients import Comers, Flow, Talker, reach
from machine import Fault, wait_until

NETWORK, SUBNET = "portway-names", "10.89.77"
CHANGED = "the addresses of the name have changed"
# What the README promises: every 5 s (a quarter more or less, so that many names spread), and what one look-up takes.
INTERVAL = 5 * 1.25 + 1.5
PORTS = {"keep": 8080, "drain": 8081, "cut": 8082}


def routes():
    """One route for each `on_vanish`, all to the same two backends."""
    text = '[log]\nformat = "json"\naccess = "stderr"\n[defaults]\nconnect_timeout = "1s"\ndrain_timeout = "5s"\n'
    for how, port in PORTS.items():
        text += (f'[[route]]\nname = "{how}"\nlisten = "{port}"\nupstream = ["app-1:3000", "app-2:3000"]\n'
                 f'on_vanish = "{how}"\n')
    return text


class Net:
    """The network, two backends by name, and Portway in a container beside them."""

    def __init__(self, stage):
        self.podman, self.image = stage.podman, stage.image
        self.podman("network", "create", "--subnet", f"{SUBNET}.0/24", NETWORK)
        self.backends = {name: self.backend(name, host) for name, host in (("app-1", 11), ("app-2", 12))}
        folder = stage.folder("names")
        (folder / "portway.toml").write_text(routes())
        published = [part for port in PORTS.values() for part in ("--publish", f"127.0.0.1:{port}:{port}")]
        self.portway = self.podman.run(
            "portway", self.image, "run", options=["--network", NETWORK, "--volume", f"{folder}:/etc/portway:ro",
                                                   *published])
        self.portway.wait_for("ready")
        for name in self.backends:
            self.portway.wait_for(CHANGED, name=name)

    def backend(self, name, host):
        """Starts a container that says its name."""
        return self.podman.run(name, self.image, "whoami", "--listen", "3000", "--name", name,
                               options=["--network", NETWORK, "--ip", f"{SUBNET}.{host}"])

    def flow_to(self, backend, port):
        """A connection that came to this backend."""
        for _ in range(4):
            flow = Flow(port)
            if flow.reached == backend:
                return flow
            flow.close()
        raise Fault(f"no client of port {port} comes to {backend}; the log:\n{self.portway.log()}")

    def wait_for_address(self, host, since):
        """Waits until Portway has found app-1 at the address; returns how long after `since`, in seconds."""
        address = f"{SUBNET}.{host}"
        news = lambda: any(record["added"] == address for record in self.portway.said(CHANGED, name="app-1"))
        wait_until(news, INTERVAL + 5, f"app-1 is known at {address}")
        return time.monotonic() - since

    def close(self):
        """Leaves no network."""
        self.podman.remove_containers()
        self.podman("network", "rm", "--force", NETWORK)


def undisturbed(talkers):
    """What the clients of the other backend noticed: nothing."""
    for talker in talkers:
        fault = talker.stop()
        if fault or talker.lines < 10:
            raise Fault(f"a client of the other backend: {fault or 'it hardly ran'} ({talker.lines} lines)")
    return f"{sum(talker.lines for talker in talkers)} lines of others, slowest {slowest(talkers):.0f} ms"


def slowest(talkers):
    """In milliseconds."""
    return max(talker.slowest for talker in talkers) * 1000


def a_backend_with_another_address_is_found(stage):
    """It goes on running, and nobody connects meanwhile: only the interval finds it, and `on_vanish` decides."""
    net = Net(stage)
    try:
        held = {how: net.flow_to("app-1", port) for how, port in PORTS.items()}
        talkers = [Talker(port, "app-2") for port in PORTS.values()]
        net.podman("network", "disconnect", NETWORK, "app-1")
        net.podman("network", "connect", "--ip", f"{SUBNET}.21", NETWORK, "app-1")
        took = net.wait_for_address(21, time.monotonic())
        if took > INTERVAL:
            raise Fault(f"found after {took:.1f} s, not within {INTERVAL} s")
        endings = {"cut": held["cut"].ending(0.5), "drain": held["drain"].ending(0), "keep": held["keep"].ending(0)}
        if endings != {"cut": "reset", "drain": None, "keep": None}:
            raise Fault(f"at once: {endings}")
        endings = {"drain": held["drain"].ending(10), "keep": held["keep"].ending(0.5)}
        if endings != {"drain": "reset", "keep": None}:
            raise Fault(f"after the drain: {endings}")
        gone = net.portway.wait_for("", 2, outcome="upstream-gone")
        for port in PORTS.values():
            came = sorted(reach(port) for _ in range(4))
            if came != ["app-1", "app-1", "app-2", "app-2"]:
                raise Fault(f"clients of port {port} come to {came}")
        figures = undisturbed(talkers)
        for flow in held.values():
            flow.close()
        return f"found after {took:.1f} s; {gone['outcome']}: drain, cut; {figures}"
    finally:
        net.close()


def a_recreated_backend_is_found(stage):
    """Removed, and run anew elsewhere, while clients come and go."""
    net = Net(stage)
    try:
        held = {how: net.flow_to("app-1", port) for how, port in PORTS.items()}
        talkers = [Talker(port, "app-2") for port in PORTS.values()]
        comers = [Comers(port) for port in PORTS.values()]
        net.podman("rm", "--force", "--time", "0", "app-1")
        removed = time.monotonic()
        endings = {how: flow.ending(2) for how, flow in held.items()}
        if any(ending not in ("closed", "reset") for ending in endings.values()):
            raise Fault(f"the backend is gone, and its clients see {endings}")
        net.backend("app-1", 31)
        since = time.monotonic()
        took = net.wait_for_address(31, since)
        if took > INTERVAL:
            raise Fault(f"found after {took:.1f} s, not within {INTERVAL} s")
        served = lambda: all(any(at > since and name == "app-1" for at, name in one.reached) for one in comers)
        wait_until(served, 5, "clients come to the new container")
        served_after = time.monotonic() - since
        cut = judge(comers, removed)
        figures = undisturbed(talkers)
        for flow in held.values():
            flow.close()
        return (f"found after {took:.1f} s, served after {served_after:.1f} s; {sum(len(one.reached) for one in comers)} "
                f"clients came meanwhile, {cut} were cut with the old one; {figures}")
    finally:
        net.close()


def judge(comers, removed):
    """Who came after the removal is served. Whom the old container took along with it is cut: one of each at most, since
    they come one after the other. Returns how many."""
    cut = 0
    for one in comers:
        one.stop()
        late = [error for came, error in one.failed if came > removed]
        if late or len(one.failed) > 1:
            raise Fault(f"clients failed: {late or one.failed}")
        cut += len(one.failed)
    return cut


TESTS = [a_backend_with_another_address_is_found, a_recreated_backend_is_found]

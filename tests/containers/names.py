"""A backend that has another address than before, in a network whose resolver knows the names of its containers."""

import time

from clients import Comers, Talker, reach
from machine import Fault, wait_until
from scene import HEAD, NETWORK, SUBNET, Scene, expect, flow_to, route

CHANGED = "the addresses of the name have changed"
# What the README promises: every 5 s (a quarter more or less, so that many names spread), and what one look-up takes.
INTERVAL = 5 * 1.25 + 1.5
PORTS = {"keep": 8080, "drain": 8081, "cut": 8082}


class Moving(Scene):
    """Two backends, known by name, and one route for each `on_vanish` to both."""

    def __enter__(self):
        super().__enter__()
        for name, host in (("app-1", 11), ("app-2", 12)):
            self.backend(name, host)
        folder = self.stage.folder("names")
        (folder / "portway.toml").write_text(
            HEAD + '[defaults]\nconnect_timeout = "1s"\ndrain_timeout = "5s"\n'
            + "".join(route(how, port, ["app-1:3000", "app-2:3000"], f'on_vanish = "{how}"') for how, port in PORTS.items()))
        self.proxy = self.portway((folder, "/etc/portway"), [f"{port}:{port}" for port in PORTS.values()])
        for name in ("app-1", "app-2"):
            self.proxy.wait_for(CHANGED, name=name)
        return self

    def wait_for_address(self, host):
        """Waits until Portway has found app-1 at the address; returns how long it took, in seconds."""
        began, address = time.monotonic(), f"{SUBNET}.{host}"
        news = lambda: any(record["added"] == address for record in self.proxy.said(CHANGED, name="app-1"))
        wait_until(news, INTERVAL + 5, f"app-1 is known at {address}")
        took = time.monotonic() - began
        expect(took < INTERVAL, f"found after {took:.1f} s, not within {INTERVAL} s")
        return took


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
    with Moving(stage) as scene:
        held = {how: flow_to("app-1", port) for how, port in PORTS.items()}
        talkers = [Talker(port, "app-2") for port in PORTS.values()]
        scene.engine("network", "disconnect", NETWORK, "app-1")
        scene.engine("network", "connect", "--ip", f"{SUBNET}.21", NETWORK, "app-1")
        took = scene.wait_for_address(21)
        endings = {"cut": held["cut"].ending(0.5), "drain": held["drain"].ending(0), "keep": held["keep"].ending(0)}
        expect(endings == {"cut": "reset", "drain": None, "keep": None}, f"at once: {endings}")
        endings = {"drain": held["drain"].ending(10), "keep": held["keep"].ending(0.5)}
        expect(endings == {"drain": "reset", "keep": None}, f"after the drain: {endings}")
        for how in ("cut", "drain"):
            scene.proxy.wait_for("", outcome="upstream-gone", route=how)
        for port in PORTS.values():
            came = sorted(reach(port) for _ in range(4))
            expect(came == ["app-1", "app-1", "app-2", "app-2"], f"clients of port {port} come to {came}")
        figures = undisturbed(talkers)
        for flow in held.values():
            flow.close()
        return f"found after {took:.1f} s; {figures}"


def a_recreated_backend_is_found(stage):
    """Removed, and run anew elsewhere, while clients come and go."""
    with Moving(stage) as scene:
        held = {how: flow_to("app-1", port) for how, port in PORTS.items()}
        talkers = [Talker(port, "app-2") for port in PORTS.values()]
        comers = [Comers(port) for port in PORTS.values()]
        scene.engine.remove("app-1")
        removed = time.monotonic()
        endings = {how: flow.ending(2) for how, flow in held.items()}
        expect(all(endings.values()), f"the backend is gone, and its clients see {endings}")
        scene.backend("app-1", 31)
        since = time.monotonic()
        took = scene.wait_for_address(31)
        served = lambda: all(any(at > since and name == "app-1" for at, name in one.reached) for one in comers)
        wait_until(served, 5, "clients come to the new container")
        served_after = time.monotonic() - since
        cut = judge(comers, removed)
        figures = undisturbed(talkers)
        for flow in held.values():
            flow.close()
        return (f"found after {took:.1f} s, served after {served_after:.1f} s; {sum(len(one.reached) for one in comers)} "
                f"clients came meanwhile, {cut} were cut with the old one; {figures}")


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

"""A network with containers in it: backends that say their name, and Portway in front of them."""

from clients import Flow, reach
from machine import Fault, wait_until

NETWORK, SUBNET = "portway-tests", "10.89.77"
HEAD = '[admin]\nlisten = "127.0.0.1:9180"\n[log]\nformat = "json"\naccess = "stderr"\n'
# What deploy/compose.yaml and deploy/kubernetes.yaml ask for.
HARDENED = ["--read-only", "--cap-drop", "all", "--cap-add", "NET_BIND_SERVICE", "--security-opt", "no-new-privileges"]


def route(name, listen, upstream, more=""):
    """The text of a route; `upstream` is a list."""
    quoted = ", ".join(f'"{address}"' for address in upstream)
    return f'[[route]]\nname = "{name}"\nlisten = "{listen}"\nupstream = [{quoted}]\n{more}\n'


class Scene:
    """A `with` block has it, and leaves no container and no network."""

    def __init__(self, stage):
        self.stage, self.engine, self.image = stage, stage.engine, stage.image

    def __enter__(self):
        self.engine("network", "create", "--subnet", f"{SUBNET}.0/24", NETWORK)
        return self

    def __exit__(self, *_):
        self.engine.remove_containers()
        self.engine("network", "rm", NETWORK)

    def backend(self, name, host):
        """Starts one that says its name."""
        return self.engine.run(name, self.image, "whoami", "--listen", "3000", "--name", name,
                               options=["--network", NETWORK, "--ip", f"{SUBNET}.{host}"])

    def portway(self, mount, ports, options=HARDENED, ready=True):
        """Starts Portway. `mount`: source and target of a volume. `ports`: as published to loopback."""
        published = [part for port in ports for part in ("--publish", f"127.0.0.1:{port}")]
        portway = self.engine.run("portway", self.image, "run", options=[
            "--network", NETWORK, "--volume", f"{mount[0]}:{mount[1]}:ro", *published, *options])
        if ready:
            portway.wait_for("ready")
        return portway


def flow_to(backend, port):
    """A connection that came to this backend of several."""
    for _ in range(4):
        flow = Flow(port)
        if flow.reached == backend:
            return flow
        flow.close()
    raise Fault(f"no client of port {port} comes to {backend}")


def until_served(port, backend, seconds=10):
    """Waits until a client of the port comes to the backend."""
    def served():
        try:
            return reach(port) == backend
        except OSError:
            return False
    wait_until(served, seconds, f"a client of port {port} comes to {backend}")


def expect(good, text):
    """What a test requires."""
    if not good:
        raise Fault(text)

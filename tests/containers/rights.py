"""The image, what a container of it may do, and how it stops."""

import json
import threading
import time
from pathlib import Path

from clients import Flow
from image import of_program
from machine import wait_until
from scene import HARDENED, HEAD, Scene, expect, route, until_served

# The bit of CAP_NET_BIND_SERVICE.
LOW_PORTS = 1 << 10
USER = 65532
# In bytes.
LARGEST = 30_000_000


def status(container):
    """/proc/PID/status of the container's process, as a dictionary."""
    pid = container.inspect("{{.State.Pid}}")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def the_image_is_small_and_has_no_root(stage):
    """And says what to do where nothing is mounted."""
    engine = stage.engine
    image = json.loads(engine("image", "inspect", stage.image))[0]
    config = image["Config"]
    expect(image["Size"] < LARGEST, f"{image['Size']} bytes")
    expect(config["User"] == "65532:65532" and config["StopSignal"] in ("SIGTERM", "15"), f"{config}")
    labels = config.get("Labels") or {}
    expect(labels.get("org.opencontainers.image.title") == "Portway" and "org.opencontainers.image.version" in labels, f"{labels}")
    said = engine.once(*HARDENED, stage.image, code=2)
    expect("error: the file has no route" in said and "/etc/portway/portway.toml" in said, said)
    said = engine.once(*HARDENED, stage.image, "--version")
    # Podman may say before it that there is no systemd to ask for the container's health.
    expect(any(line.startswith("portway ") for line in said.splitlines()), said)
    return f"{image['Size'] / 1e6:.1f} MB"


def the_archive_of_a_release_is_the_same_image(stage):
    """What deploy/image makes without an engine has what that of deploy/Dockerfile has, and runs."""
    engine = stage.engine
    name = of_program(engine, stage.program, stage.folder("archive"))
    ours, theirs = (json.loads(engine("image", "inspect", each))[0]["Config"] for each in (name, stage.image))
    for key in ("User", "Entrypoint", "Cmd", "StopSignal", "Healthcheck", "Env"):
        expect(ours[key] == theirs[key], f"{key}: {ours[key]} is not {theirs[key]}")
    expect(theirs["Labels"].items() <= ours["Labels"].items(), f"{ours['Labels']}")
    said = engine.once(*HARDENED, name, "--version")
    expect(said.startswith("portway "), said)
    # A name is looked up, with what was put beside the program for it.
    said = engine.once(name, "probe", "nobody.invalid:1", code=1)
    expect("nobody.invalid" in said, said)
    return name


def it_serves_a_low_port_with_that_right_alone(stage):
    """Not root, everything read-only, all capabilities dropped but one; also where the image itself must bring it."""
    for options in (HARDENED, []):
        with Scene(stage) as scene:
            scene.backend("one", 11)
            folder = stage.folder("rights")
            (folder / "portway.toml").write_text(HEAD + route("low", 80, ["one:3000"]))
            portway = scene.portway((folder, "/etc/portway"), ["8080:80"], options)
            until_served(8080, "one")
            its = status(portway)
            expect(its["Uid"].split() == [str(USER)] * 4 and its["Gid"].split() == [str(USER)] * 4, f"{its}")
            # Docker opens low ports to everybody in a container, and `no-new-privileges` keeps the right of the file away.
            expect(int(its["CapEff"], 16) == int(its["CapPrm"], 16) in (LOW_PORTS, 0), f"{its}")
            expect(its["Seccomp"] == "2", f"{its}")
            if options:
                expect(int(its["CapBnd"], 16) == LOW_PORTS and its["NoNewPrivs"] == "1", f"{its}")
                mounts = Path(f"/proc/{portway.inspect('{{.State.Pid}}')}/mountinfo").read_text()
                root = next(line for line in mounts.splitlines() if line.split()[4] == "/")
                expect(root.split()[5].startswith("ro"), root)
    return "hardened, and with an engine's defaults"


def without_any_right_it_starts_and_a_low_port_is_a_fault_with_its_cure(stage):
    """`--cap-drop all`, and low ports as on a host."""
    dropped = ["--read-only", "--cap-drop", "all", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"]
    with Scene(stage) as scene:
        scene.backend("one", 11)
        folder = stage.folder("rights")
        (folder / "portway.toml").write_text(HEAD + route("high", 8080, ["one:3000"]))
        portway = scene.portway((folder, "/etc/portway"), ["8080:8080"], dropped)
        until_served(8080, "one")
        expect(int(status(portway)["CapPrm"], 16) == 0, f"{status(portway)}")
        (folder / "portway.toml").write_text(HEAD + route("high", 8080, ["one:3000"]) + route("low", 80, ["one:3000"]))
        refused = portway.wait_for("edit refused")
        expect("--cap-add NET_BIND_SERVICE" in refused["report"], f"{refused}")
        until_served(8080, "one")
    return "cannot listen on port 80: permission denied, --cap-add NET_BIND_SERVICE"


def stop_ends_with_the_drains_report(stage):
    """Within the grace period; a client that ends by itself meanwhile is not cut."""
    with Scene(stage) as scene:
        scene.backend("one", 11)
        folder = stage.folder("stop")
        (folder / "portway.toml").write_text(HEAD + route("a", 8080, ["one:3000"], 'drain_timeout = "4s"'))
        portway = scene.portway((folder, "/etc/portway"), ["8080:8080"])
        ends, stays = Flow(8080), Flow(8080)
        began = time.monotonic()
        stopping = threading.Thread(target=lambda: scene.engine("stop", "--time", "30", "portway"))
        stopping.start()
        draining = portway.wait_for("draining")
        # It still serves those that are here.
        expect(ends.say("still here") == "one", "a connection is not served while it drains")
        ends.close()
        expect(stays.ending(10) == "reset", "it was not cut at the end of the drain")
        stopping.join()
        took = time.monotonic() - began
        stopped = portway.wait_for("stopped")
        expect((draining["connections"], stopped["finished"], stopped["cut"]) == (2, 1, 1), f"{draining} {stopped}")
        expect(portway.inspect("{{.State.ExitCode}}") == "0" and took < 15, f"code, after {took:.1f} s")
        stays.close()
        return f"after {took:.1f} s: {stopped['finished']} finished, {stopped['cut']} cut"


def an_upgrade_keeps_the_first_process_and_every_connection(stage):
    """`docker cp` of another program, and `portway upgrade`: the process is the same, and becomes that program."""
    with Scene(stage) as scene:
        scene.backend("one", 11)
        folder = stage.folder("upgrade")
        head = HEAD.replace("[log]", 'token = "0123456789abcdef"\n[log]')
        (folder / "portway.toml").write_text(head + route("a", 8080, ["one:3000"]))
        portway = scene.portway((folder, "/etc/portway"), ["8080:8080"], [])
        flow, pid = Flow(8080), portway.inspect("{{.State.Pid}}")
        for _ in range(2):
            scene.engine("cp", stage.program, "portway:/usr/bin/portway")
            said = scene.engine("exec", "portway", "/usr/bin/portway", "upgrade")
            expect("1 connection and 0 UDP sessions moved" in said, said)
            program = Path(f"/proc/{pid}/exe")
            wait_until(lambda: not str(program.readlink()).endswith("(deleted)"), 20, "the process becomes the new program")
            alone = lambda: len(scene.engine("top", "portway", "-o", "pid,comm").strip().splitlines()) == 2
            wait_until(alone, 20, "nobody stands in any more")
            expect(flow.say("still here") == "one", "the connection did not move")
            until_served(8080, "one")
        expect(portway.inspect("{{.State.Pid}}") == pid, "another process")
        flow.close()
        return said.strip()


def the_engine_sees_whether_it_is_healthy(stage):
    """By HEALTHCHECK."""
    with Scene(stage) as scene:
        folder = stage.folder("health")
        file = folder / "portway.toml"
        file.write_text(HEAD + route("a", 8080, ["one:3000"]))
        scene.portway((folder, "/etc/portway"), [])
        expect(scene.engine.checked("portway"), "it is not healthy")
        # What runs does not stop to be healthy where an edit is refused.
        file.write_text(HEAD + "nonsense")
        expect(scene.engine.checked("portway"), "a refused edit makes it unhealthy")
        file.write_text(route("a", 8080, ["one:3000"]))
        wait_until(lambda: not scene.engine.checked("portway"), 30, "without [admin] nobody can be asked")
        return scene.engine("exec", "portway", "/usr/bin/portway", "status", code=2).strip().splitlines()[-1].strip()


BUILT = [the_archive_of_a_release_is_the_same_image, the_engine_sees_whether_it_is_healthy]
TESTS = [the_image_is_small_and_has_no_root, it_serves_a_low_port_with_that_right_alone,
         without_any_right_it_starts_and_a_low_port_is_a_fault_with_its_cure, stop_ends_with_the_drains_report,
         an_upgrade_keeps_the_first_process_and_every_connection]

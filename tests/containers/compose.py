"""deploy/compose.yaml, by `docker compose`."""

import os
import shutil
import subprocess
import time

from clients import reach
from machine import REPOSITORY, Fault, wait_until
from scene import expect, until_served


def copy(folder, name):
    """What a compose file needs, where it can be edited."""
    shutil.copytree(REPOSITORY / "deploy", folder / "deploy")
    file = folder / name
    # Where limits cannot be raised.
    file.write_text(file.read_text().replace("nofile: 65536", "nofile: 20000"))


def has_no_health_check(stage, name):
    """Whether a container does without the image's check (O8), which asks a proxy: a backend would be unhealthy for ever."""
    return "NONE" in stage.engine("inspect", "--format", "{{json .Config.Healthcheck}}", name)


class Compose:
    """A copy of deploy/ that is up; a `with` block takes it down again."""

    def __init__(self, stage, file="deploy/compose.yaml"):
        self.engine, self.folder, self.file = stage.engine, stage.folder("compose"), file
        copy(self.folder, file)

    def command(self, *args):
        """Runs a command as a person would, at the top of the copy. Returns what it printed."""
        environment = {**os.environ, "HOME": str(self.folder), "PATH": f"{self.engine.bin}:{os.environ['PATH']}"}
        done = subprocess.run(args, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, env=environment)
        if done.returncode:
            raise Fault(f"{' '.join(args)}: code {done.returncode}\n{done.stdout}")
        return done.stdout

    def __call__(self, *args):
        return self.command("docker", "compose", "-f", self.file, *args)

    def __enter__(self):
        self("up", "--detach")
        return self

    def __exit__(self, *_):
        self("down", "--volumes", "--timeout", "1")
        self.engine("network", "prune", "--force")


def the_compose_setup_runs(stage):
    """Both backends are reached, an edit of the mounted folder arrives, and it goes down."""
    with Compose(stage) as compose:
        def reached():
            try:
                return {reach(8080) for _ in range(4)} == {"app-1", "app-2"}
            except OSError:
                return False
        wait_until(reached, 20, "clients come to both backends")
        file = compose.folder / "deploy/compose/portway.toml"
        began = time.monotonic()
        file.write_text(file.read_text().replace('"app-1:3000", ', ""))
        wait_until(lambda: {reach(8080) for _ in range(4)} == {"app-2"}, 20, "the edit arrives")
        took = time.monotonic() - began
        until_served(8080, "app-2", 1)
        running = stage.engine("ps", "--format", "{{.Names}}")
        expect(all(name in running for name in ("portway", "app-1", "app-2")), running)
        for service in ("app-1", "app-2"):
            name = next(name for name in running.split() if service in name)
            expect(has_no_health_check(stage, name), f"{name} has a health check")
    left = stage.engine("ps", "--all", "--quiet").split()
    expect(not left, f"left: {left}")
    return f"an edit arrives after {took:.1f} s"


TESTS = [the_compose_setup_runs]

"""deploy/compose.yaml, by podman-compose."""

import os
import shutil
import subprocess
import time

from clients import reach
from machine import REPOSITORY, Fault, wait_until
from podman import RUN
from scene import expect, until_served


class Compose:
    """A copy of deploy/ that is up; a `with` block takes it down again."""

    def __init__(self, stage):
        self.podman, self.folder = stage.podman, stage.folder("compose")
        shutil.copytree(REPOSITORY / "deploy", self.folder / "deploy")
        file = self.folder / "deploy/compose.yaml"
        # Where limits cannot be raised.
        file.write_text(file.read_text().replace("nofile: 65536", "nofile: 20000"))
        # podman-compose knows no way to say where Podman has its state.
        wrapper = self.folder / "podman"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(self.podman.command)} "$@"\n')
        wrapper.chmod(0o755)
        self.command = ["podman-compose", "--podman-path", str(wrapper), f"--podman-run-args={' '.join(RUN)}", "-f", str(file)]

    def __call__(self, *args):
        done = subprocess.run([*self.command, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, env={**os.environ, "HOME": str(self.folder)})
        if done.returncode:
            raise Fault(f"podman-compose {' '.join(args)}: code {done.returncode}\n{done.stdout}")
        return done.stdout

    def __enter__(self):
        self("up", "--detach", "--no-build")
        return self

    def __exit__(self, *_):
        self("down", "--timeout", "1")
        self.podman("network", "prune", "--force")


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
        running = stage.podman("ps", "--format", "{{.Names}}")
        expect(all(name in running for name in ("portway", "app-1", "app-2")), running)
    left = stage.podman("ps", "--all", "--quiet").split()
    expect(not left, f"left: {left}")
    return f"an edit arrives after {took:.1f} s"


TESTS = [the_compose_setup_runs]

"""What the README says about containers and the package, run as a person would run it."""

import os
import shutil
import subprocess

import compose
from machine import REPOSITORY, Fault, wait_until
from package import Box
from scene import expect

NOTE = "<!--run by: tests/containers-->"


def blocks():
    """The lines of each block that is run here."""
    parts = (REPOSITORY / "README.md").read_text().split(f"{NOTE}\n```sh\n")[1:]
    found = [part.split("```")[0].strip().splitlines() for part in parts]
    expect(len(found) == 3, f"{len(found)} blocks of the README are run here")
    return found


def build_command(engine):
    """The first line of all, which makes the image; for Podman as the sentence after the block has it."""
    command = blocks()[0][0]
    podman = "podman build --format docker"
    expect(f"`{podman}`" in (REPOSITORY / "README.md").read_text(), "the README does not say how Podman makes the image")
    return command if engine == "docker" else command.replace("docker build", podman)


def package_commands():
    """How the package is made."""
    return blocks()[2][:2]


class Person:
    """At a shell in the top folder, or in a copy of what the commands need of it."""

    def __init__(self, stage):
        self.stage, self.folder = stage, stage.folder("readme")
        compose.copy(self.folder, "deploy/compose.yaml")
        (self.folder / "bin").mkdir()
        shutil.copy(stage.program, self.folder / "bin/portway")
        self.environment = {**os.environ, "HOME": str(self.folder), "PWD": str(self.folder),
                            "PATH": f"{stage.engine.bin}:{self.folder / 'bin'}:{os.environ['PATH']}"}

    def types(self, line):
        """A line; what asks the proxy is tried again, since a person does not type it in the moment of its start."""
        def done():
            result = subprocess.run(["sh", "-c", line], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
            self.printed = result.stdout
            return result.returncode == 0
        try:
            wait_until(done, 10 if any(word in line for word in ("status", "probe", "curl")) else 0, line)
        except Fault as fault:
            raise Fault(f"{fault}\n{self.printed}") from None
        return self.printed


def the_commands_about_containers_do_what_they_say(stage):
    """All but the build, which has made the image."""
    person = Person(stage)
    (_, network, one, two, run, curl, status, logs, stop), (up, probe, down), _ = blocks()
    for line in (network, one, two, run):
        person.types(line)
    # O8: it forwards to an example that answers, and nothing of it is unhealthy.
    expect("name: app-" in person.types(curl), person.printed)
    expect("running" in person.types(status), person.printed)
    for backend in ("app-1", "app-2"):
        expect(compose.has_no_health_check(stage, backend), f"{backend} has a health check")
    expect("ready" in person.types(logs), person.printed)
    person.types(stop)
    expect("stopped" in person.types(logs), person.printed)
    person.types("docker rm --force portway app-1 app-2")
    person.types("docker network rm proxied")
    person.types(up)
    expect("app-" in person.types(probe), person.printed)
    person.types(down)
    left = stage.engine("ps", "--all", "--quiet").split()
    stage.engine("network", "prune", "--force")
    expect(not left, f"left: {left}")
    return f"{len(blocks()[0]) + len(blocks()[1])} commands"


def the_commands_about_debian_do_what_they_say(stage):
    """All but how the package is made, which has made it; in a container, with the packages in target/debian."""
    install, edit, check = blocks()[2][2:]
    with Box(stage) as box:
        box("mkdir -p /top/target/debian; cp /packages/portway_1.deb /top/target/debian/portway_0.deb")
        box(f"cd /top; DEBIAN_FRONTEND=noninteractive {install} </dev/null")
        # Somebody who adds a route.
        (stage.packages / "routes").write_text('[[route]]\nlisten = "80"\nupstream = "app:3000"\n')
        (stage.packages / "editor").write_text('#!/bin/sh\ncat /packages/routes >>"$1"\n')
        box("install /packages/editor /usr/local/bin/")
        box(edit)
        said = box(check)
        expect("fine, 1 route" in said, said)
    return f"{len(blocks()[2])} commands"


BUILT = [the_commands_about_containers_do_what_they_say, the_commands_about_debian_do_what_they_say]

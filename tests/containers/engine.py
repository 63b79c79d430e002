"""A container engine with images and containers of this run alone, and the containers of the tests."""

import json
import subprocess
from pathlib import Path

from machine import Fault, wait_until


class Engine:
    """A command line, with its state in one folder. `docker.py` and `podman.py` have the two that there are."""

    # How it is called, what it calls the image of the README, and what every `run` is given.
    NAME, PORTWAY, RUN, REMOVE = "", "", [], []

    def __init__(self, folder, command):
        self.folder, self.command, self.containers = Path(folder), command, []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name, text in self.shims().items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}")
            (self.bin / name).chmod(0o755)

    def shims(self):
        """Programs for PATH, so that what a person types works on the images and containers of this run."""
        return {}

    def __call__(self, *args, code=0, timeout=120, **options):
        """Runs a command, and returns what it printed; raises when its exit code is another (None: it may be any)."""
        done = subprocess.run([*self.command, *map(str, args)], stdin=options.pop("stdin", subprocess.DEVNULL),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True, **options)
        if code is not None and done.returncode != code:
            raise Fault(f"{self.NAME} {' '.join(map(str, args))}: code {done.returncode}\n{done.stdout}")
        return done.stdout

    def run(self, name, image, *args, options=()):
        """Starts a container that goes on running."""
        self("run", *self.RUN, "--detach", "--name", name, *options, image, *args)
        container = Container(self, name)
        self.containers.append(container)
        return container

    def once(self, *args, code=0):
        """Runs a container until it ends, and returns what it printed."""
        return self("run", *self.RUN, "--rm", *args, code=code)

    def remove(self, *names):
        """Containers that may be running."""
        self("rm", "--force", *self.REMOVE, *names)

    def remove_containers(self):
        """After each test."""
        left = self("ps", "--all", "--quiet").split()
        if left:
            self.remove(*left)
        self.containers.clear()

    def checked(self, name):
        """Whether the next health check of a container passes."""
        raise NotImplementedError

    def before_images(self):
        """Before images are made, with the network outside."""

    def before_tests(self):
        """Before the tests, in the network of their own."""

    def close(self):
        """Containers, images, all of it."""


class Container:
    """A container that was started, seen from outside."""

    def __init__(self, engine, name):
        self.engine, self.name = engine, name

    def log(self):
        """All that it has printed."""
        return self.engine("logs", self.name)

    def records(self):
        """The JSON lines among it."""
        found = []
        for line in self.log().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def said(self, message, **fields):
        """Its messages that begin so and have these fields."""
        return [
            record for record in self.records()
            if record.get("message", "").startswith(message) and all(record.get(k) == v for k, v in fields.items())
        ]

    def wait_for(self, message, count=1, seconds=30, **fields):
        """Waits until it has said so `count` times; returns the last of them."""
        def there():
            found = self.said(message, **fields)
            return found[-1] if len(found) >= count else None
        try:
            return wait_until(there, seconds, message)
        except Fault as fault:
            raise Fault(f"{self.name}: {fault} {fields}; its log:\n{self.log()}") from None

    def inspect(self, form):
        """A value of `inspect --format`."""
        return self.engine("inspect", "--format", form, self.name).strip()

"""Podman with images and containers of this run alone, and the containers of the tests."""

import json
import shutil
import subprocess
from pathlib import Path

from machine import Fault, wait_until

# On a machine whose limits cannot be raised the defaults fail; `crun` fails where cgroups of both versions are mixed.
RUN = ["--runtime", "runc", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"]


class Podman:
    """The command line, with its state in one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        networks = self.folder / "networks"
        networks.mkdir(parents=True)
        self.command = [
            # By its path: in PATH there may be the shim.
            shutil.which("podman"), "--root", str(self.folder / "store"), "--runroot", str(self.folder / "run"),
            "--network-config-dir", str(networks), "--cgroup-manager", "cgroupfs",
        ]
        self.containers = []
        self.bin = self.shims()

    def shims(self):
        """A folder with `docker` and `podman`, for PATH: what a person types works on the images and containers of this run."""
        folder, podman = self.folder / "bin", " ".join(self.command)
        folder.mkdir()
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True).stdout.strip()
        run, build = " ".join(RUN), f"--network host --isolation chroot --volume {sysroot}:/toolchain:ro"
        (folder / "podman").write_text(f"""#!/bin/sh
case $1 in
    run) shift && exec {podman} run {run} "$@" ;;
    build) shift && exec {podman} build --format docker {build} "$@" ;;
    *) exec {podman} "$@" ;;
esac
""")
        (folder / "docker").write_text(f"""#!/bin/sh
[ "$1" = compose ] || exec {folder}/podman "$@"
shift && exec podman-compose --podman-path {folder}/podman "$@"
""")
        for shim in folder.iterdir():
            shim.chmod(0o755)
        return folder

    def __call__(self, *args, code=0, timeout=120, **options):
        """Runs a command, and returns what it printed; raises when its exit code is another (None: it may be any)."""
        done = subprocess.run([*self.command, *map(str, args)], stdin=options.pop("stdin", subprocess.DEVNULL),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True, **options)
        if code is not None and done.returncode != code:
            raise Fault(f"podman {' '.join(map(str, args))}: code {done.returncode}\n{done.stdout}")
        return done.stdout

    def run(self, name, image, *args, options=()):
        """Starts a container that goes on running."""
        self("run", *RUN, "--detach", "--name", name, *options, image, *args)
        container = Container(self, name)
        self.containers.append(container)
        return container

    def remove_containers(self):
        """After each test."""
        self("rm", "--all", "--force", "--time", "0")
        self.containers.clear()

    def close(self):
        """Containers, images, all of it."""
        subprocess.run([*self.command, "rm", "--all", "--force", "--time", "0"], capture_output=True)
        subprocess.run(["umount", "--recursive", "--lazy", self.folder / "store/overlay"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Container:
    """A container that was started, seen from outside."""

    def __init__(self, podman, name):
        self.podman, self.name = podman, name

    def log(self):
        """All that it has printed."""
        return self.podman("logs", self.name)

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
        """A value of `podman inspect --format`."""
        return self.podman("inspect", "--format", form, self.name).strip()

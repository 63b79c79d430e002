"""Docker: an engine of this run alone."""

import json
import os
import shutil
import subprocess

from engine import Engine
from machine import Fault, tail, wait_until


class Docker(Engine):
    """dockerd and its client, as Debian packages them."""

    NAME, PORTWAY, RUN, REMOVE = "docker", "portway", [], []

    def __init__(self, folder):
        # Of Debian's package: it speaks BuildKit without a plugin.
        self.socket, self.client, self.daemon = folder / "docker.sock", "/usr/bin/docker", None
        super().__init__(folder, [self.client, "--host", f"unix://{self.socket}"])

    def shims(self):
        """`docker compose` is a plugin, which Debian packages as a program of its own."""
        host = f"export DOCKER_HOST=unix://{self.socket} DOCKER_BUILDKIT=1\n"
        docker = f"""{host}case $1 in
    compose) shift && exec docker-compose "$@" ;;
    build) shift && exec {self.client} build --network host "$@" ;;
    *) exec {self.client} "$@" ;;
esac
"""
        return {"docker": docker}

    def before_images(self):
        self.start("--bridge", "none")

    def before_tests(self):
        self.stop()
        self.start()

    def start(self, *options):
        """Starts the daemon in the network that this process is in."""
        log, empty = self.folder / "dockerd.log", self.folder / "daemon.json"
        empty.write_text("{}")
        with log.open("ab") as output:
            self.daemon = subprocess.Popen(
                ["dockerd", "--config-file", empty, "--data-root", self.folder / "data", "--exec-root", self.folder / "exec",
                 "--host", f"unix://{self.socket}", "--pidfile", self.folder / "dockerd.pid",
                 # Overlays of overlays are nothing that every kernel mounts.
                 "--storage-driver", "fuse-overlayfs",
                 # Docker's own proxy, through which loopback reaches a published port, makes a FIN of each reset.
                 "--userland-proxy=false", *options], stdout=output, stderr=output)
        try:
            wait_until(lambda: subprocess.run([*self.command, "info"], capture_output=True).returncode == 0, 30, "dockerd")
        except Fault as fault:
            raise Fault(f"{fault}:\n{tail(log)}") from None

    def stop(self):
        """Ends the daemon, and what it has started."""
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
            self.daemon = None

    def checked(self, name):
        """Docker checks by itself, every 10 s."""
        def log():
            return json.loads(self("inspect", "--format", "{{json .State.Health.Log}}", name)) or []
        last = [entry["Start"] for entry in log()][-1:]
        newer = lambda: [entry for entry in log() if [entry["Start"]] > last]
        return wait_until(newer, 40, "a health check")[0]["ExitCode"] == 0

    def close(self):
        if self.daemon:
            subprocess.run([*self.command, "ps", "--all", "--quiet"], capture_output=True)
        self.stop()
        subprocess.run(["umount", "--recursive", "--lazy", self.folder / "data"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

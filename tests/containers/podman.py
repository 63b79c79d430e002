"""Podman: for what differs from Docker."""

import shutil
import subprocess

from engine import Engine


class Podman(Engine):
    """The command line, with its state in one folder."""

    NAME, PORTWAY = "podman", "localhost/portway"
    # On a machine whose limits cannot be raised the defaults fail; `crun` fails where cgroups of both versions are mixed.
    RUN = ["--runtime", "runc", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"]
    REMOVE = ["--time", "0"]

    def __init__(self, folder):
        networks = folder / "networks"
        networks.mkdir(parents=True)
        super().__init__(folder, [
            # By its path: in PATH there may be the shim.
            shutil.which("podman"), "--root", str(folder / "store"), "--runroot", str(folder / "run"),
            "--network-config-dir", str(networks), "--cgroup-manager", "cgroupfs",
        ])

    def shims(self):
        podman, run = " ".join(self.command), " ".join(self.RUN)
        return {"podman": f"""case $1 in
    run) shift && exec {podman} run {run} "$@" ;;
    build) shift && exec {podman} build --network host --isolation chroot "$@" ;;
    *) exec {podman} "$@" ;;
esac
"""}

    def checked(self, name):
        """A Podman without systemd checks when it is told to."""
        return self("healthcheck", "run", name, code=None).strip() == ""

    def close(self):
        subprocess.run([*self.command, "rm", "--all", "--force", "--time", "0"], capture_output=True)
        subprocess.run(["umount", "--recursive", "--lazy", self.folder / "store/overlay"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

"""A sandbox of mounts and processes, then of a network: whatever ends the run, nothing of them is left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time

from machine import Fault, wait_until

INSIDE = "PORTWAY_CONTAINERS_SANDBOX"
CLONE_NEWNET = 0x40000000


def enter():
    """Runs this program again with mounts and processes of its own. Returns in the one that is inside."""
    if os.environ.get(INSIDE):
        reap()
        return
    os.environ[INSIDE] = "1"
    inside = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable,
                               *sys.argv])
    # unshare(1) itself does not end by it.
    signal.signal(signal.SIGTERM, lambda *_: inside.kill())
    sys.exit(inside.wait())


def reap():
    """This is process 1 of the sandbox, to which every orphan falls: it waits for all, a child of its own does the work.
    The kernel ends the rest with it."""
    child = os.fork()
    if child == 0:
        hide_state()
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def hide_state():
    """What Podman and its network plugins keep of all containers of a machine is the sandbox's own here."""
    for folder in ("/run", "/var/lib/cni"):
        os.makedirs(folder, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder]).returncode:
            raise Fault(f"cannot mount a tmpfs at {folder}")


def leave_the_network():
    """From here on this process, and what it starts, has a network of its own: loopback, and the bridges of Podman."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise Fault(f"cannot have a network of its own: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def eventually(condition, seconds, what):
    """Waits until `condition()` is true; returns how long that took, in seconds."""
    began = time.monotonic()
    wait_until(condition, seconds, what)
    return time.monotonic() - began

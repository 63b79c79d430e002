"""Somebody who installs new versions while everybody works: an upgrade in place every two seconds."""

import json
import subprocess
import threading
import time

EVERY = 2  # seconds
PATIENCE = 5  # seconds for the process to be back; longer while the file has nonsense
# Why an upgrade may be refused while the file is edited: it has nonsense, or another upgrade is not quite over.
EXPECTED = ("cannot serve this file", "another upgrade is under way", "Portway is stopping")


class Upgrader(threading.Thread):
    """Upgrades until `stop`. `moved`: the connections of each upgrade. `refused`: how many were not possible."""

    def __init__(self, program, routes, editor, process):
        super().__init__(name="upgrader", daemon=True)
        self.program, self.routes, self.editor, self.process = program, routes, editor, process
        self.over = threading.Event()
        self.moved, self.refused, self.faults, self.pause = [], 0, [], 0.0

    def run(self):
        while not self.over.wait(EVERY):
            with self.routes.text_stays:
                self.upgrade()

    def upgrade(self):
        """One upgrade, with what is open: what the file has no route for now would end in the old process."""
        if self.routes.has_guest and not self.editor.is_broken and self.is_back():
            asked = self.portway("upgrade", "--in-place", "--json")
            if asked.returncode == 0:
                done = json.loads(asked.stdout)
                self.moved.append(done["moved"])
                self.pause = max(self.pause, done["pause"])
            elif any(reason in asked.stderr for reason in EXPECTED):
                self.refused += 1
            else:
                self.faults.append(f"upgrade: code {asked.returncode}: {asked.stderr}")
            end = time.monotonic() + PATIENCE
            while not self.is_back() and time.monotonic() < end:
                time.sleep(0.05)

    def portway(self, *words):
        """One of its commands."""
        # The file, which may have nonsense, is not asked where the endpoint is.
        return subprocess.run([self.program, *words, "--admin", self.routes.admin], capture_output=True, text=True, timeout=60)

    def is_back(self):
        """Whether the process that was started serves, and nobody stands in for it."""
        status = self.portway("status", "--json")
        children = subprocess.run(["pgrep", "--parent", str(self.process.pid)], capture_output=True, text=True).stdout
        try:
            return json.loads(status.stdout)["pid"] == self.process.pid and not children
        except (ValueError, KeyError):
            return False

    def stop(self, seconds=30):
        """Ends the upgrades, and waits until the last one is over."""
        self.over.set()
        self.join()
        end = time.monotonic() + seconds
        while not self.is_back():
            if time.monotonic() > end:
                self.faults.append("somebody still stands in for the process")
                return
            time.sleep(0.1)

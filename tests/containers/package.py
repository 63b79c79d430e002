"""The Debian package: installed, run, upgraded, removed and purged in a container without systemd."""

import os
import shutil
import subprocess

import image
from machine import REPOSITORY, Fault, tail
from scene import expect

CARGO_DEB = "3.8.0"
FILE = "/etc/portway/portway.toml"
# Prints the process that runs, and not the shell that looks for it.
RUNS = r"for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -q '[p]ortway run' && echo ${p#/proc/}; done; true"
ROUTES = """[admin]
listen = "unix:/run/portway/admin.sock"
[[route]]
listen = "127.0.0.1:80"
upstream = "127.0.0.1:9000"
"""


def make(commands, folder):
    """Makes the package by the commands that the README gives, and the next version of it, whose default file is another.
    Returns the folder of both."""
    tools = REPOSITORY / "target/tools"
    log = folder / "package.log"
    install, package = commands
    # Into target/, where a second run finds it; built in a third of the time.
    quick = f"--version {CARGO_DEB} --locked --debug --no-default-features --root {tools} --target-dir {tools}/build"
    steps = [
        ["sh", "-c", f"{install} {quick}"],
        ["sh", "-c", f"{package} --output {folder}/portway_1.deb"],
        ["dpkg-deb", "--raw-extract", folder / "portway_1.deb", folder / "next"],
    ]
    environment = {**os.environ, "PATH": f"{tools / 'bin'}:{os.environ['PATH']}"}
    with log.open("ab") as output:
        for step in steps:
            if subprocess.run(step, cwd=REPOSITORY, env=environment, stdout=output, stderr=output).returncode:
                raise Fault(f"{' '.join(map(str, step))} failed:\n{tail(log)}")
        control = folder / "next/DEBIAN/control"
        control.write_text(control.read_text().replace("Version: ", "Version: 9:"))
        default = folder / f"next{FILE}"
        default.write_text(default.read_text() + "# The next version says more.\n")
        if subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder / "next", folder / "portway_2.deb"],
                          stdout=output, stderr=output).returncode:
            raise Fault(f"no second package:\n{tail(log)}")
    shutil.rmtree(folder / "next")
    return folder


class Box:
    """A Debian in a container, with the packages in /packages; a `with` block ends it."""

    def __init__(self, stage):
        self.engine, self.packages = stage.engine, stage.packages

    def __enter__(self):
        self.engine.run("box", image.DEBIAN, "sleep", "infinity", options=["--volume", f"{self.packages}:/packages:ro"])
        return self

    def __exit__(self, *_):
        self.engine.remove_containers()

    def __call__(self, script, code=0):
        """Runs a script as root, and returns what it printed."""
        return self.engine("exec", "box", "sh", "-euc", script, code=code)


def the_package_is_installed_run_upgraded_removed_and_purged(stage):
    """By dpkg, with what its maintainer scripts have to do in each step."""
    with Box(stage) as box:
        said = box("dpkg --install /packages/portway_1.deb 2>&1")
        expect("warning" not in said and "error" not in said, said)
        account = box("getent passwd portway").strip()
        expect(account.endswith(":/nonexistent:/usr/sbin/nologin"), account)
        expect("portway" not in box("cat /proc/[0-9]*/comm | sort -u"), "it was started")
        box("test ! -e /etc/systemd/system/multi-user.target.wants/portway.service")
        for path in ("man/man1/portway.1.gz", "man/man1/portway-status.1.gz", "man/man5/portway.toml.5.gz",
                     "bash-completion/completions/portway", "zsh/vendor-completions/_portway",
                     "fish/vendor_completions.d/portway.fish"):
            box(f"test -s /usr/share/{path}")
        expect("the file has no route" in box(f"portway check 2>&1", code=2), "the default file is not read")

        for words in ("Permission is hereby granted", "TERMS AND CONDITIONS FOR USE", "License: MIT or Apache-2.0"):
            box(f"grep -q '{words}' /usr/share/doc/portway/copyright")

        box(f"cat >{FILE} <<'END'\n{ROUTES}END\nportway check")
        # As the unit does: the account, one capability, /run/portway.
        box("install -d -o portway /run/portway; portway whoami --listen 127.0.0.1:9000 >/dev/null &\n"
            "setpriv --reuid portway --regid portway --clear-groups --inh-caps -all,+net_bind_service --ambient-caps "
            "-all,+net_bind_service --bounding-set -all,+net_bind_service portway run >/tmp/log 2>&1 &\n"
            "for i in $(seq 100); do portway status >/tmp/status 2>&1 && break; sleep 0.1; done; cat /tmp/status")
        expect("whoami[127.0.0.1:" in box("echo hello | portway probe 127.0.0.1:80"), box("cat /tmp/log"))
        # A connection that is open while the next version is installed.
        box("mkfifo /tmp/in; (sleep 600 >/tmp/in & echo $! >/tmp/holds); portway probe 127.0.0.1:80 </tmp/in >/tmp/out 2>&1 & sleep 1; "
            "for i in $(seq 100); do portway connections | grep -q 127.0.0.1:9000 && break; sleep 0.1; done")
        said = box("dpkg --install --force-confdef --force-confold /packages/portway_2.deb 2>&1 </dev/null")
        expect("upgraded: " in said and "1 connection and 0 UDP sessions moved" in said, said)
        expect("127.0.0.1:9000" in box("portway connections"), "the connection has not moved")
        box("grep -q 'taken over' /tmp/log")
        box(f"kill $(cat /tmp/holds); kill $({RUNS}); while [ \"$({RUNS})\" ]; do sleep 0.1; done; grep -q stopped /tmp/log")
        expect(box(f"cat {FILE}").strip() == ROUTES.strip() and "says more" in box(f"cat {FILE}.dpkg-dist"), said)
        box("dpkg --remove portway; test ! -e /usr/bin/portway; getent passwd portway >/dev/null")
        expect(box(f"cat {FILE}").strip() == ROUTES.strip(), "a removal takes the file")
        box("mkdir -p /var/log/portway; touch /var/log/portway/access.log")
        said = box("dpkg --purge portway 2>&1")
        left = box("ls -d /etc/portway /var/log/portway /usr/share/doc/portway /usr/lib/systemd/system/portway.service "
                   "/var/lib/systemd/deb-systemd-helper-masked/portway.service 2>/dev/null || true; getent passwd portway || "
                   "true; dpkg --audit; dpkg-query --list portway 2>/dev/null | grep '^.[^n]' | grep portway || true")
        expect(not left.strip(), f"after the purge: {left}\n{said}")
        return account


TESTS = [the_package_is_installed_run_upgraded_removed_and_purged]

"""Images out of what this machine has: none can be pulled."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from machine import REPOSITORY, Fault, tail

# Debian with what the build stage and the package of the tests need.
DEBIAN = "docker.io/library/debian:bookworm-slim"
RUST = "docker.io/library/rust:1-bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def of_program(engine, program, folder):
    """An image of this program, as deploy/image makes it. Returns its name."""
    archive = Path(folder) / "program.tar"
    subprocess.run([REPOSITORY / "deploy/image", program, archive], check=True)
    return re.search(r"Loaded image.*?: (\S+)", engine("load", "--input", archive))[1]


def debian(engines, folder):
    """Debian, and under the name of Rust's own image the same with this machine's toolchain."""
    root, log = Path(folder) / "debian", Path(folder) / "debootstrap.log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=adduser,ca-certificates,gcc,libc6-dev,libcap2-bin",
             "bookworm", root], stdout=output, stderr=output)
    if done.returncode:
        raise Fault(f"debootstrap failed:\n{tail(log)}")
    # A machine behind a proxy of its own has that one's certificate.
    put(CERTIFICATES, root / str(CERTIFICATES).lstrip("/"))
    plain = pack(root, keep=True)
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    shutil.copytree(sysroot, root / "toolchain", symlinks=True, ignore=lambda folder, _: ["share"] if folder == sysroot else [])
    rust = pack(root)
    for engine in engines:
        engine("import", plain, DEBIAN)
        engine("import", "--change", "ENV PATH=/toolchain/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--change",
               "ENV CARGO_HOME=/usr/local/cargo", rust, RUST, timeout=300)
    plain.unlink()
    rust.unlink()


def build(engine, command, folder):
    """The image of deploy/Dockerfile, by the command that the README gives."""
    # Its caches are there.
    environment = {**os.environ, "TMPDIR": str(folder), "PATH": f"{engine.bin}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
    if done.returncode:
        raise Fault(f"{command}: code {done.returncode}\n{done.stdout[-4000:]}")


def pack(root, keep=False):
    """The folder as an archive; without `keep` the folder goes."""
    archive = Path(f"{root}{'-plain' if keep else ''}.tar")
    subprocess.run(["tar", "-C", root, "--xattrs", "--xattrs-include=*", "-cf", archive, "."], check=True)
    if not keep:
        shutil.rmtree(root)
    return archive


def put(source, target):
    """Copies a file, with its folders."""
    os.makedirs(target.parent, exist_ok=True)
    shutil.copy(source, target)

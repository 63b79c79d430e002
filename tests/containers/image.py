"""Images out of what this machine has: none can be pulled."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from machine import REPOSITORY, Fault, say, tail

# The release binary of this machine with the libraries that it is linked to, and nothing else.
PROGRAM = "localhost/portway-program"
# What deploy/Dockerfile makes.
BUILT = "localhost/portway"
# Debian with what the build stage and the package of the tests need.
DEBIAN = "docker.io/library/debian:bookworm-slim"
RUST = "docker.io/library/rust:1-bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def of_program(podman, program, folder):
    """An image of the program alone. Returns its name."""
    root = Path(folder) / "program"
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        put(library, root / library.lstrip("/"))
    put(program, root / "usr/bin/portway")
    for name in ("etc/portway", "tmp"):
        (root / name).mkdir(parents=True)
    archive = pack(root)
    podman("import", "--change", 'ENTRYPOINT ["/usr/bin/portway"]', archive, PROGRAM)
    return PROGRAM


def debian(podman, folder):
    """Debian, and under the name of Rust's own image the same with this machine's toolchain mounted."""
    root, log = Path(folder) / "debian", Path(folder) / "debootstrap.log"
    with log.open("wb") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=adduser,ca-certificates,gcc,libc6-dev,libcap2-bin,man-db",
             "bookworm", root], stdout=output, stderr=output)
    if done.returncode:
        raise Fault(f"debootstrap failed:\n{tail(log)}")
    # A machine behind a proxy of its own has that one's certificate.
    put(CERTIFICATES, root / str(CERTIFICATES).lstrip("/"))
    archive = pack(root)
    podman("import", archive, DEBIAN)
    podman("import", "--change", "ENV PATH=/toolchain/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--change",
           "ENV CARGO_HOME=/usr/local/cargo", archive, RUST)


def build(podman, folder):
    """The image of deploy/Dockerfile, built as a person would."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True,
                             cwd=REPOSITORY).stdout.strip()
    # Its caches are there.
    environment = {**os.environ, "TMPDIR": str(folder)}
    log = podman("build", "--format", "docker", "--network", "host", "--volume", f"{sysroot}:/toolchain:ro",
                 "--isolation", "chroot", "--file", "deploy/Dockerfile", "--tag", BUILT, ".", cwd=REPOSITORY,
                 timeout=900, env=environment)
    size = int(podman("image", "inspect", "--format", "{{.Size}}", BUILT))
    say(f"the image has {size / 1e6:.1f} MB")
    return log


def pack(root):
    """The folder as an archive; the folder goes."""
    archive = Path(f"{root}.tar")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    shutil.rmtree(root)
    return archive


def put(source, target):
    """Copies a file, with its folders."""
    os.makedirs(target.parent, exist_ok=True)
    shutil.copy(source, target)

"""The servers behind the routes: each on loopback, with its data in the temporary folder, on a port of its own."""

import getpass
import hashlib
import random
import socket
import subprocess
from pathlib import Path

from machine import Fault, connects, find, tail

MEGABYTE = 1_000_000
BIG = 100 * MEGABYTE
SMALL_FILES = 200


class Servers:
    """Starts all of them, or those that `only` asks for. The attributes say where they listen."""

    def __init__(self, machine, only=None):
        self.machine = machine
        if only:
            only(self)
            return
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError as error:
                raise Fault(f"this machine has no IPv6 loopback, and the routes use it ({error}): "
                            "sysctl net.ipv6.conf.lo.disable_ipv6=0") from error
        self.postgres()
        self.redis()
        self.nginx()
        self.sshd()
        self.iperf()
        self.dead_port()

    def postgres(self, tls=None):
        """PostgreSQL on a Unix socket: `postgres_socket`; `postgres_folder` is what libpq calls the host. `tls`: a folder
        with a certificate; it then listens on `postgres_port` of 127.0.0.1 too, and speaks TLS there."""
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        if not bins:
            raise Fault("/usr/lib/postgresql/*/bin is not there: apt-get install postgresql")
        self.postgres_bin = bins[-1]
        folder = self.machine.folder("postgres", unprivileged=True)
        made = subprocess.run(
            [self.postgres_bin / "initdb", "--pgdata", folder / "data", "--username", "postgres", "--auth", "trust",
             "--no-sync", "--locale", "C", "--encoding", "UTF8"],
            cwd=folder, capture_output=True, text=True, **self.machine.unprivileged,
        )
        if made.returncode:
            raise Fault(f"initdb failed: {made.stderr}")
        self.postgres_folder = folder
        self.postgres_socket = str(folder / ".s.PGSQL.5432")
        settings = {
            "listen_addresses": "", "port": 5432, "unix_socket_directories": folder, "max_connections": 300,
            "fsync": "off", "max_wal_size": "4GB", "shared_buffers": "64MB",
        }
        if tls:
            self.postgres_port = self.machine.port()
            settings |= {"listen_addresses": "127.0.0.1", "port": self.postgres_port, "ssl": "on",
                         "ssl_cert_file": tls / "db.pem", "ssl_key_file": tls / "db.key"}
            self.postgres_socket = str(folder / f".s.PGSQL.{self.postgres_port}")
        self.machine.start(
            "postgres",
            [self.postgres_bin / "postgres", "-D", folder / "data",
             *(f"--{key}={value}" for key, value in settings.items())],
            ready=lambda: subprocess.run(
                [self.postgres_bin / "pg_isready", "-q", "-h", folder, "-p", str(settings["port"]), "-U", "postgres"]).returncode == 0,
            unprivileged=True,
        )

    def redis(self):
        """Redis in memory only."""
        folder = self.machine.folder("redis", unprivileged=True)
        self.redis_port = self.machine.port()
        self.machine.start(
            "redis",
            [find("redis-server"), "--port", self.redis_port, "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--appendonly", "no", "--maxclients", "2000", "--tcp-backlog", "511"],
            ready=lambda: connects(("127.0.0.1", self.redis_port)), unprivileged=True,
        )
        self.redis_direct = 1

    def nginx(self):
        """nginx on IPv4, IPv6 and a Unix socket, with a big file, many small ones, and a folder that takes PUT."""
        folder = self.machine.folder("nginx", unprivileged=True)
        for name in ("root", "root/small", "root/up", "temp"):
            self.machine.folder(f"nginx/{name}", unprivileged=True)
        self.web_root = folder / "root"
        self.web_port = self.machine.port()
        self.web_socket = str(folder / "nginx.sock")
        generator = random.Random(1)
        big = generator.randbytes(BIG)
        (self.web_root / "big").write_bytes(big)
        self.big_sha256 = hashlib.sha256(big).hexdigest()
        for number in range(SMALL_FILES):
            # The first is empty, the last is 64 KB: an answer that fits no buffer, and one with no byte.
            size = 64_000 * number // (SMALL_FILES - 1)
            (self.web_root / "small" / str(number)).write_bytes(generator.randbytes(size))
        config = folder / "nginx.conf"
        temp = "\n".join(f"    {kind}_temp_path {folder}/temp/{kind};"
                         for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config.write_text(f"""\
daemon off;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    sendfile on;
{temp}
    server {{
        listen 127.0.0.1:{self.web_port} backlog=511;
        listen [::1]:{self.web_port} backlog=511;
        listen unix:{self.web_socket} backlog=511;
        root {self.web_root};
        location /up/ {{ dav_methods PUT; client_max_body_size {2 * BIG}; }}
    }}
}}
""")
        self.machine.start(
            "nginx", [find("nginx"), "-e", "stderr", "-p", folder, "-c", config],
            ready=lambda: connects(("127.0.0.1", self.web_port)) and connects(self.web_socket), unprivileged=True,
        )

    def sshd(self):
        """sshd with keys made for this run. It lets in the user who runs the test, by that key only."""
        folder = self.machine.folder("ssh")
        folder.chmod(0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "throw-away", "-f", folder / name],
                           check=True)
        self.ssh_user = getpass.getuser()
        self.ssh_port = self.machine.port()
        self.ssh_folder = folder
        (folder / "known_hosts").write_text("portway-real " + (folder / "host.pub").read_text())
        (folder / "sshd_config").write_text(f"""\
ListenAddress 127.0.0.1:{self.ssh_port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
""")
        separation = Path("/run/sshd")
        if self.machine.root and not separation.exists():
            # The folder that sshd(8) demands when it runs as root; its service would make it.
            separation.mkdir(mode=0o755)
            self.machine.undo.append(separation.rmdir)
        self.machine.start(
            "sshd", [find("sshd"), "-D", "-e", "-f", folder / "sshd_config"],
            ready=lambda: connects(("127.0.0.1", self.ssh_port)),
        )

    def iperf(self):
        """iperf3's server, on IPv4 and IPv6. It serves one test at a time."""
        self.iperf_port = self.machine.port()
        # A connection that sends nothing would be taken for a test: see whether it listens without one.
        line = f":{self.iperf_port:04X} "
        self.machine.start(
            "iperf3", ["iperf3", "-s", "--forceflush", "-p", self.iperf_port],
            ready=lambda: line in Path("/proc/net/tcp6").read_text(), unprivileged=True,
        )

    def iperf_is_idle(self):
        """Whether iperf3's server has put the last test away: before each it says that it listens. A client is done a
        moment earlier, and would be told that the server is busy."""
        said = (self.machine.dir / "iperf3.log").read_text(errors="replace")
        return said.rstrip("-\n").rsplit("\n", 1)[-1].startswith("Server listening")

    def dead_port(self):
        """A port that refuses: bound, so that nobody else takes it, and not listened on."""
        self.dead = self.machine.port()
        self.dead_holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.dead_holder.bind(("127.0.0.1", self.dead))

    def redis_info(self):
        """Redis' own figures, asked on its own port. `redis_direct` counts the connections made like that."""
        self.redis_direct += 1
        answer = subprocess.run(["redis-cli", "-p", str(self.redis_port), "info"], capture_output=True, text=True)
        if answer.returncode:
            raise Fault(f"redis-cli info: {answer.stderr}{tail(self.machine.dir / 'redis.log')}")
        pairs = (line.split(":", 1) for line in answer.stdout.splitlines() if ":" in line)
        return {key: value for key, value in pairs}

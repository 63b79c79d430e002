"""The routes file under test: what stays, what changes, what comes and goes, and what must be refused."""

import json
import random
import threading


def route(name, listen, upstream, timeout="5s"):
    """One [[route]]; addresses as they stand in the file (a JSON string or list is a TOML one)."""
    return (f"[[route]]\nname = {json.dumps(name)}\nlisten = {json.dumps(listen)}\n"
            f"upstream = {json.dumps(upstream)}\nconnect_timeout = \"{timeout}\"\n")


class Routes:
    """The file's text as a value: edits change it, `text()` shows it."""

    def __init__(self, machine, servers, seed):
        self.random = random.Random(seed)
        self.servers = servers
        self.access_log = machine.dir / "access.log"
        self.admin = f"unix:{machine.dir}/admin.sock"
        # Held by whoever edits, and by whoever wants the text to stay.
        self.text_stays = threading.Lock()
        folder = machine.folder("listen")
        self.postgres = ("127.0.0.1", machine.port())
        self.redis = ("::1", machine.port())
        self.web = machine.port()
        self.web_unix = str(folder / "web.sock")
        self.ssh = ("127.0.0.1", machine.port())
        self.iperf = ("127.0.0.1", machine.port())
        self.changing = ("127.0.0.1", machine.port())
        self.guest = ("127.0.0.1", machine.port())
        self.last = ("127.0.0.1", machine.port())
        web, redis = f"127.0.0.1:{servers.web_port}", f"127.0.0.1:{servers.redis_port}"
        # These are never edited: IPv4, IPv6, both with a Unix socket, every interface; a Unix upstream, a name.
        self.fixed = "\n".join([
            route("postgres", f"127.0.0.1:{self.postgres[1]}", f"unix:{servers.postgres_socket}"),
            route("redis", f"[::1]:{self.redis[1]}", redis),
            route("web", [f"127.0.0.1:{self.web}", f"[::1]:{self.web}", f"unix:{self.web_unix}"],
                  f"localhost:{servers.web_port}"),
            route("ssh", str(self.ssh[1]), f"127.0.0.1:{servers.ssh_port}"),
            route("iperf", str(self.iperf[1]), f"[::1]:{servers.iperf_port}"),
        ])
        # What the route `changing` leads to, in turn: every one of them reaches nginx.
        self.upstreams = [
            web, f"[::1]:{servers.web_port}", f"unix:{servers.web_socket}", f"localhost:{servers.web_port}",
            [f"127.0.0.1:{servers.dead}", web],
        ]
        ports, span = machine.port(), machine.port(5)
        # Routes that nobody uses, in every form of `listen`: they come and go.
        self.spares = {
            "spare-v4": route("spare-v4", f"127.0.0.1:{machine.port()}", redis),
            "spare-v6": route("spare-v6", f"[::1]:{machine.port()}", web),
            "spare-both": route("spare-both", str(machine.port()), redis),
            "spare-two": route("spare-two", [f"127.0.0.1:{ports}", f"[::1]:{ports}"], web),
            "spare-range": route("spare-range", f"127.0.0.1:{span}-{span + 4}", redis),
            "spare-unix": route("spare-unix", f"unix:{folder}/spare.sock", f"unix:{servers.web_socket}"),
        }
        self.reset()

    def reset(self):
        """The text with which the proxy starts, and to which it comes back at the end."""
        self.timeout, self.upstream, self.note = 5000, 0, 0
        self.has_guest, self.has_last, self.present = True, False, []

    def text(self):
        """The whole file."""
        parts = [
            f'[process]\nuser = "root"\n[admin]\nlisten = "{self.admin}"\n[log]\nlevel = "info"\nformat = "json"\naccess = "{self.access_log}"\n',
            f"# note {self.note}\n" + self.fixed,
            route("changing", f"127.0.0.1:{self.changing[1]}", self.upstreams[self.upstream], f"{self.timeout}ms"),
        ]
        redis = f"127.0.0.1:{self.servers.redis_port}"
        if self.has_guest:
            parts.append(route("guest", f"127.0.0.1:{self.guest[1]}", redis))
        parts += [self.spares[name] for name in self.present]
        if self.has_last:
            parts.append(route("last", f"127.0.0.1:{self.last[1]}", redis))
        return "\n".join(parts)

    def edit(self):
        """One edit, by chance. Returns what was done, in a word."""
        absent = [name for name in self.spares if name not in self.present]
        done = self.random.choice(["add", "add", "remove", "remove", "upstream", "upstream", "timeout", "guest",
                                   "order", "comment"])
        if done == "add" and absent:
            self.present.append(self.random.choice(absent))
        elif done == "remove" and self.present:
            self.present.remove(self.random.choice(self.present))
        elif done == "upstream":
            self.upstream = (self.upstream + 1) % len(self.upstreams)
        elif done == "guest":
            self.has_guest = not self.has_guest
        elif done == "order" and len(self.present) > 1:
            self.random.shuffle(self.present)
        elif done == "comment":
            self.note += 1
        else:
            done = "timeout"
            self.new_timeout()
        return done

    def new_timeout(self):
        """Another `connect_timeout` for the route `changing`; returns the old and the new one as they stand there."""
        old = self.timeout
        self.timeout = 5000 + (old - 5000 + self.random.randint(1, 998)) % 1000
        return f'"{old}ms"', f'"{self.timeout}ms"'

    def broken(self):
        """One kind of fault by chance, and a text with it."""
        return self.random.choice(list(self.broken_texts().items()))

    def broken_texts(self):
        """Kinds of faults, each with a text (bytes) that has it, and that would cut everybody off if it were taken."""
        cut_off = self.text().split("# note")[0] + route(
            "changing", f"127.0.0.1:{self.changing[1]}", f"127.0.0.1:{self.servers.dead}")
        taken = route("taken", f"127.0.0.1:{self.servers.web_port}", f"127.0.0.1:{self.servers.redis_port}")
        return {
            "syntax": f"{cut_off}\n[[route]\n".encode(),
            "unknown key": f'{cut_off}upstraem = "127.0.0.1:1"\n'.encode(),
            "duplicate address": (cut_off + route("again", f"127.0.0.1:{self.changing[1]}", "127.0.0.1:1")).encode(),
            "duration without unit": cut_off.replace('"5s"', '"5"').encode(),
            "invalid UTF-8": cut_off.encode() + b"# \xff\xfe\n",
            "cut short": cut_off[:-8].encode(),
            "no routes": cut_off.split("[[route]]")[0].encode(),
            "empty": b"",
            "port taken": (cut_off + taken).encode(),
        }

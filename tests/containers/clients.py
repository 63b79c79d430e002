"""Clients of the tests: each talks lines with a `portway whoami` behind the proxy, which says its name."""

import socket
import threading
import time


class Flow:
    """One connection. `reached`: the name of the backend."""

    def __init__(self, port, seconds=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.answers = self.socket.makefile("rb")
        self.reached = self.say("hello")

    def say(self, text):
        """Sends a line; returns who answered it."""
        self.socket.sendall(text.encode() + b"\n")
        answer = self.answers.readline().decode()
        name, _, rest = answer.partition("[")
        if not rest.endswith(f": {text}\n"):
            raise OSError(f"answered {answer!r}")
        return name

    def ending(self, seconds=0.0):
        """How it has ended: "reset", "closed", or None while it is open after so long."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            return "closed" if not self.socket.recv(1) else "spoken to"
        except TimeoutError:
            return None
        except ConnectionResetError:
            return "reset"

    def close(self):
        """This side."""
        self.answers.close()
        self.socket.close()


def reach(port):
    """The backend that a new connection comes to."""
    flow = Flow(port)
    flow.close()
    return flow.reached


class Talker(threading.Thread):
    """Goes on talking on one connection; `slowest` is the longest time that an answer took, in seconds."""

    def __init__(self, port, backend):
        super().__init__(daemon=True)
        self.flow = next(flow for flow in iter(lambda: Flow(port), None) if flow.reached == backend or flow.close())
        self.lines, self.slowest, self.fault, self.over = 0, 0.0, None, False
        self.start()

    def run(self):
        while not self.over:
            began = time.monotonic()
            try:
                self.flow.say(f"line {self.lines}")
            except OSError as error:
                self.fault = f"after {self.lines} lines: {error!r}"
                return
            self.lines += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(0.02)

    def stop(self):
        """Ends it. Returns its fault."""
        self.over = True
        self.join()
        self.flow.close()
        return self.fault


class Comers(threading.Thread):
    """Clients that come one after the other, with a line each. `reached`: when each ended, and where it came to;
    `failed`: when each came, and how it failed."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.reached, self.failed, self.over = port, [], [], False
        self.start()

    def run(self):
        while not self.over:
            came = time.monotonic()
            try:
                self.reached.append((time.monotonic(), reach(self.port)))
            except OSError as error:
                self.failed.append((came, repr(error)))
            time.sleep(0.05)

    def stop(self):
        """Ends it."""
        self.over = True
        self.join()

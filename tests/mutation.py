"""Many changes of the code in one build: each function that is changed holds a copy of its body for each change, and the
environment variable PORTWAY_MUTANT chooses. A change so costs no build of its own, and of the tests only those that reach it:
each test is run once by itself, and what it reaches is written to the file that PORTWAY_MUTANTS_REACHED names.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

CHOOSE = """
#[doc(hidden)]
pub fn mutant(here: &[u32]) -> u32 {
    use std::collections::HashSet;
    use std::fs::File;
    use std::io::Write;
    use std::sync::{Mutex, OnceLock};
    static CHOSEN: OnceLock<u32> = OnceLock::new();
    static REACHED: OnceLock<Option<Mutex<HashSet<u32>>>> = OnceLock::new();
    let path = || std::env::var_os("PORTWAY_MUTANTS_REACHED");
    let reached = REACHED.get_or_init(|| path().map(|_| Mutex::default()));
    if let Some(mut reached) = reached.as_ref().and_then(|reached| reached.lock().ok()) {
        if here.iter().any(|number| !reached.contains(number)) {
            // Not kept open: the tests count descriptors.
            if let Some(mut file) = path().and_then(|path| File::options().append(true).open(path).ok()) {
                let text: String = here.iter().map(|number| format!("{number}\\n")).collect();
                if file.write_all(text.as_bytes()).is_ok() {
                    reached.extend(here);
                }
            }
        }
    }
    *CHOSEN.get_or_init(|| std::env::var("PORTWAY_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
"""

# The future of a connection is larger with several bodies in it.
SMALL = re.compile(r"size_of::<F>\(\) <= \d+")


class Tree:
    """A copy of the sources with many changes in it, and its build."""

    def __init__(self, top, place):
        self.top, self.path, self.target = top, place / "tree", place / "build"
        self.ranges = {}

    def write_all(self, mutants):
        """Writes the copy with all of them in it. What cannot be chosen at run time (constants) is returned."""
        alone, texts, by_file = [], {}, collections.defaultdict(list)
        for mutant in mutants:
            (by_file[mutant["file"]] if mutant["function"] else alone).append(mutant)
        self.ranges = {}
        for name, own in by_file.items():
            texts[name], self.ranges[name], left = changed((self.top / name).read_text(), own)
            alone += left
        self.write(texts)
        return alone

    def write_one(self, mutant):
        """Writes the copy with this change in the place of what it changes."""
        text = (self.top / mutant["file"]).read_text()
        begin, end = offsets(text)(mutant["span"])
        self.write({mutant["file"]: f"{text[:begin]}{mutant['replacement']} {text[end:]}"})

    def write(self, texts):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.top, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            source = self.top / name
            if source.is_file():
                content = texts[name].encode() if name in texts else source.read_bytes()
                if texts and name.endswith("proxy/connection/mod.rs"):
                    content = SMALL.sub("true", content.decode()).encode()
                put(self.path / name, content + (CHOOSE.encode() if name == "src/lib.rs" else b""), source.stat().st_mode)

    def cargo(self, *args):
        """The messages of a build, and whether it went well."""
        # Optimized a little: the tests run some four hundred times.
        env = os.environ | {"CARGO_TARGET_DIR": str(self.target), "RUSTFLAGS": "--cap-lints allow",
                            "CARGO_PROFILE_DEV_OPT_LEVEL": "1"}
        done = subprocess.run(["cargo", *args, "--locked", "--message-format=json"], cwd=self.path, env=env, text=True,
                              stdout=subprocess.PIPE, check=False)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return messages, done.returncode == 0

    def refused(self, messages):
        """The numbers of the changes that do not compile."""
        refused = set()
        for message in (m["message"] for m in messages if m["reason"] == "compiler-message"):
            spans = [span for span in message["spans"] if message["level"] == "error"]
            hit = {number for span in spans if span["is_primary"] for number in self.at(span)}
            refused |= hit or {number for span in spans for number in self.at(span)}
        return refused

    def at(self, span):
        return [number for first, last, number in self.ranges.get(span["file_name"], [])
                if first <= span["line_start"] <= last]

    def programs(self, names):
        """Builds test programs; returns their paths by name (`--lib` is the library's), or none and the compiler's words: what is
        judged at compile time is not seen by a check.
        """
        args = [word for name in names for word in (["--lib"] if name == "--lib" else ["--test", name])]
        messages, well = self.cargo("test", "--no-run", *args)
        if not well:
            return None, said(messages)
        made = [m for m in messages if m["reason"] == "compiler-artifact" and m["profile"]["test"] and m["executable"]]
        return {"--lib" if "lib" in m["target"]["kind"] else m["target"]["name"]: m["executable"] for m in made}, ""


def said(messages):
    return "".join(m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message")


def put(path, content, mode):
    """Writes a file unless it is so already: an older file need not be built again."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    path.chmod(mode)


def offsets(text):
    """A function from a span (lines and columns) to where it begins and ends in the text."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return lambda span: tuple(starts[at["line"] - 1] + at["column"] - 1 for at in (span["start"], span["end"]))


def changed(text, mutants):
    """The text with all the changes, the lines of each in it, and the changes for which there is no place."""
    ends = offsets(text)
    functions = sorted({ends(mutant["function"]["span"]) for mutant in mutants}, key=lambda at: (at[0], -at[1]))
    outer, alone = [], []
    for at in functions:
        if not outer or at[0] >= outer[-1][1]:
            outer.append(at)
    pieces, ranges, done = [], [], 0
    for first, last in outer:
        own = [m for m in mutants if first <= ends(m["span"])[0] and ends(m["span"])[1] <= last]
        body = body_of(text[first:last])
        if body is None:
            alone += own
            continue
        begin, end = first + body, last - 1
        numbers = ", ".join(str(mutant["number"]) for mutant in own)
        pieces += [text[done:begin], f"match crate::mutant(&[{numbers}]) {{\n"]
        for mutant in own:
            here, there = ends(mutant["span"])
            line = "".join(pieces).count("\n") + 1
            copy = f"{mutant['number']} => {{{text[begin:here]}{mutant['replacement']} {text[there:end]}}}\n"
            pieces.append(copy)
            ranges.append((line, line + copy.count("\n") - 1, mutant["number"]))
        pieces.append(f"_ => {{{text[begin:end]}}}\n}}\n")
        done = end
    return "".join([*pieces, text[done:]]), ranges, alone


def body_of(function):
    """Where in the text of a function its body begins, behind the brace. None: it is `const`, or has none."""
    head = re.search(r"^[^/\n#]*\bfn\s+\w+", function, re.M)
    if not head or re.search(r"\bconst\b", head.group()):
        return None
    depth = 0
    for at in range(head.end(), len(function)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(function[at], 0)
        if function[at] == "{" and depth == 0:
            return at + 1
    return None


class Test:
    """A test of the build without any change: how long it takes, and which changes it reaches."""

    def __init__(self, program, name, cwd, place):
        self.program, self.name, self.cwd = program, name, cwd
        place.write_bytes(b"")
        # The proxy may run as another user.
        place.chmod(0o666)
        for _ in range(2):
            began = time.monotonic()
            self.fails = fails([self], 0, 300, {"PORTWAY_MUTANTS_REACHED": str(place)})[0] is not None
            self.seconds = time.monotonic() - began
            if not self.fails:
                break
        self.reaches = {int(line) for line in place.read_text().split()}
        place.unlink()


class Tests:
    """The tests of a build. Each is run without any change when it is first asked for."""

    def __init__(self, cwd, place, jobs):
        self.cwd, self.place, self.jobs, self.known = cwd, place, jobs, {}

    def of(self, stages):
        """Those of some programs. Those that fail without any change are named and left out."""
        asked = []
        for program, filters in stages:
            text = subprocess.run([program, "--list", *filters], cwd=self.cwd, capture_output=True, text=True, check=True).stdout
            names = [line.removesuffix(": test") for line in text.splitlines() if line.endswith(": test")]
            asked += [(program, name) for name in names if (program, name) not in asked]
        new = [key for key in asked if key not in self.known]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            self.known |= zip(new, pool.map(lambda at: Test(*at[1], self.cwd, self.place / f"reached-{at[0]}"), enumerate(new)))
        for key in new:
            if self.known[key].fails:
                print(f"  left out, it fails without any change: {key[1]}", flush=True)
        return [test for test in self.good() if (test.program, test.name) in asked]

    def good(self):
        return [test for test in self.known.values() if not test.fails]


def noticed(tests, number):
    """The first of these tests that fails with this change, or none. It must fail twice, and pass without the change: a busy
    machine is not the change's doing. With number 0 the build is that of one change.
    """
    for program in dict.fromkeys(test.program for test in tests):
        left = [test for test in tests if test.program == program]
        while left:
            failed, passed = fails(left, number)
            if failed is None:
                break
            if fails([failed], number)[0] and (number == 0 or not fails([failed], 0)[0]):
                return failed.name
            left = [test for test in left if test.name not in passed and test is not failed]
    return None


def fails(tests, number, limit=None, more=None):
    """Runs tests of one program until one fails: that one or none, and the names of those that have passed. Where they take too
    long or the program ends, it is the first that has said nothing: they begin in this order.
    """
    first, limit = tests[0], limit or 30 + 3 * sum(test.seconds for test in tests)
    env = os.environ | {"PORTWAY_MUTANT": str(number), "CARGO_MANIFEST_DIR": str(first.cwd)} | (more or {})
    child = subprocess.Popen([first.program, "--exact", *(test.name for test in tests)], cwd=first.cwd, env=env, text=True,
                             errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             start_new_session=True)
    timer = threading.Timer(limit, kill, [child])
    timer.start()
    passed, failed = set(), None
    for line in child.stdout:
        said = re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|ignored|FAILED)$", line)
        if said and said.group(2) == "FAILED":
            failed = said.group(1)
        elif said:
            passed.add(said.group(1))
        if failed or line.startswith("test result: "):
            break
    kill(child)
    child.wait()
    timer.cancel()
    forget(child.pid)
    return next((test for test in tests if test.name == failed or not failed and test.name not in passed), None), passed


def kill(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def forget(pid):
    """Removes the network namespaces of a test program that was killed."""
    for name in pathlib.Path("/run/netns").glob(f"portway-{pid}-*"):
        subprocess.run(["ip", "netns", "del", name.name], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(f"/etc/netns/{name.name}", ignore_errors=True)

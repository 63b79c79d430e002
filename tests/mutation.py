"""Many changes of the code in one build: each function that is changed holds a copy of its body for each change, and the
environment variable PORTWAY_MUTANT chooses. A change so costs no build of its own, and of the tests only those that reach it:
each test is run once by itself, and what it reaches is written to the file that PORTWAY_MUTANTS_REACHED names.
"""

import collections
import concurrent.futures
import json
import os
import re
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
    static REACHED: OnceLock<Option<Mutex<(File, HashSet<u32>)>>> = OnceLock::new();
    let reached = REACHED.get_or_init(|| {
        let path = std::env::var_os("PORTWAY_MUTANTS_REACHED")?;
        Some(Mutex::new((File::options().append(true).open(path).ok()?, HashSet::new())))
    });
    if let Some(mut reached) = reached.as_ref().and_then(|reached| reached.lock().ok()) {
        for number in here {
            if reached.1.insert(*number) {
                let _ = reached.0.write_all(format!("{number}\\n").as_bytes());
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
        self.program, self.name = program, name
        place.write_bytes(b"")
        # The proxy may run as another user.
        place.chmod(0o666)
        began = time.monotonic()
        self.fails = run(program, ["--exact", name], 0, 300, cwd, {"PORTWAY_MUTANTS_REACHED": str(place)})
        self.seconds = time.monotonic() - began
        self.reaches = {int(line) for line in place.read_text().split()}
        place.unlink()


def tests(stages, cwd, place, jobs):
    """Every test of the stages. Those that fail without any change are named and left out."""
    listed = []
    for program, filters in stages:
        text = subprocess.run([program, "--list", *filters], cwd=cwd, capture_output=True, text=True, check=True).stdout
        names = [line.removesuffix(": test") for line in text.splitlines() if line.endswith(": test")]
        listed += [(program, name) for name in names if (program, name) not in listed]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda at: Test(*at[1], cwd, place / f"reached-{at[0]}"), enumerate(listed)))
    for test in found:
        if test.fails:
            print(f"  left out, it fails without any change: {test.name}", flush=True)
    return [test for test in found if not test.fails]


def noticed(found, number, cwd):
    """The first test that fails with this change, twice, or none."""
    reaching = [test for test in found if number in test.reaches]
    for program in dict.fromkeys(test.program for test in reaching):
        of = [test for test in reaching if test.program == program]
        limit = 30 + 3 * sum(test.seconds for test in of)
        for _ in range(3):
            failed = run(program, ["--exact", *(test.name for test in of)], number, limit, cwd)
            if failed is None:
                break
            if failed.startswith("(") or run(program, ["--exact", failed], number, limit, cwd):
                return failed
    return None


def noticed_alone(stages, limit, cwd):
    """The first test that fails in a build of one change, twice, or none."""
    for program, filters in stages:
        failed = run(program, filters, 0, limit, cwd)
        if failed and (failed.startswith("(") or run(program, ["--exact", failed], 0, limit, cwd)):
            return failed
    return None


TIMEOUT = "(out of time)"


def run(program, filters, number, limit, cwd, more=None):
    """Runs tests until one fails: its name, or none."""
    env = os.environ | {"PORTWAY_MUTANT": str(number), "CARGO_MANIFEST_DIR": str(cwd)} | (more or {})
    child = subprocess.Popen([program, *filters], cwd=cwd, env=env, text=True, errors="replace", stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    late = threading.Event()

    def stop():
        late.set()
        kill(child)

    timer = threading.Timer(limit, stop)
    timer.start()
    failed = next((found.group(1) for line in child.stdout if (found := re.match(r"test (\S+) .*FAILED$", line))), None)
    kill(child)
    status = child.wait()
    timer.cancel()
    if late.is_set():
        return TIMEOUT
    return failed or (None if status in (0, -signal.SIGKILL) else f"(ended with {status})")


def kill(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

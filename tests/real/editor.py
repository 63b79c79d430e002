"""Somebody who cannot leave the routes file alone: an edit every 200 ms, saved in every way that people save."""

import collections
import os
import shutil
import subprocess
import threading
import time

EVERY = 0.2  # seconds
BROKEN_EVERY = 12  # edits


class Editor(threading.Thread):
    """Edits `file` until `stop`. `saved` counts by way of saving, `edits` by what was changed."""

    def __init__(self, file, routes):
        super().__init__(name="editor")
        self.file = file
        self.routes = routes
        self.over = threading.Event()
        self.saved, self.edits, self.refusable = (collections.Counter() for _ in range(3))
        self.error = None
        self.number = 0
        self.is_broken = False

    def run(self):
        """One edit at each beat; a beat that is missed is left out."""
        try:
            beat = time.monotonic()
            while not self.over.wait(max(0.0, beat - time.monotonic())):
                with self.routes.text_stays:
                    self.one()
                beat = max(beat + EVERY, time.monotonic())
        except Exception as error:  # shown as a failed check by whoever joins
            self.error = error

    def stop(self):
        """Ends the edits."""
        self.over.set()
        self.join()

    def one(self):
        """The next edit: now and then a broken text, else a good one, by the next way of saving."""
        self.number += 1
        ways = [self.in_place, self.rename, self.sed, self.cp, self.vim, self.symlink, self.two_writes, self.touch,
                self.vim_in_place, self.kubernetes]
        way = ways[self.number % len(ways)]
        if self.number % BROKEN_EVERY == 0:
            kind, text = self.routes.broken()
            self.refusable[kind] += 1
            # Not by those that edit what is there.
            way = way if way in (self.in_place, self.rename, self.cp, self.symlink, self.kubernetes) else self.rename
            way(text)
            self.is_broken = True
        elif way in (self.sed, self.vim, self.vim_in_place, self.touch) and not self.is_broken:
            way()
        else:
            way = self.rename if way in (self.sed, self.vim, self.vim_in_place, self.touch) else way
            self.edits[self.routes.edit()] += 1
            way(self.routes.text().encode())
            self.is_broken = False
        self.saved[way.__name__] += 1
        if not self.is_broken and self.file.read_bytes() != self.routes.text().encode():
            raise AssertionError(f"{way.__name__} did not save what it should have")

    def good(self):
        """Saves the present text, whatever stood there."""
        self.rename(self.routes.text().encode())
        self.is_broken = False

    def in_place(self, text):
        """As most editors' plain save: truncate, write."""
        self.file.write_bytes(text)

    def two_writes(self, text):
        """As a slow copy: truncate, one half, the other 20 ms later. The first ends within a string, so that it is
        no routes file by itself."""
        middle = text.index(b'"127.0.0.1', len(text) // 2) + 4
        with self.file.open("wb", buffering=0) as file:
            file.write(text[:middle])
            time.sleep(0.02)
            file.write(text[middle:])

    def rename(self, text):
        """As careful programs: a temporary file, renamed over it."""
        new = self.file.with_name(".new")
        new.write_bytes(text)
        new.rename(self.file)

    def cp(self, text):
        """cp(1) from elsewhere."""
        source = self.file.with_name(".source")
        source.write_bytes(text)
        subprocess.run(["cp", source, self.file], check=True)

    def symlink(self, text):
        """The file becomes a link to another one each time."""
        target = self.file.with_name(f".version-{self.number}")
        target.write_bytes(text)
        self.link(target.name, self.file)
        for old in self.file.parent.glob(".version-*"):
            if old != target:
                old.unlink()

    def kubernetes(self, text):
        """A ConfigMap's layout: the file links into `..data`, which links to a folder, and is swapped."""
        folder = self.file.with_name(f"..{self.number}")
        folder.mkdir()
        (folder / self.file.name).write_bytes(text)
        self.link(folder.name, self.file.with_name("..data"))
        through = f"..data/{self.file.name}"
        if not self.file.is_symlink() or os.readlink(self.file) != through:
            self.link(through, self.file)
        for old in self.file.parent.glob("..[0-9]*"):
            if old != folder:
                shutil.rmtree(old)

    def link(self, target, path):
        """Swaps a symbolic link in one step."""
        new = self.file.with_name(".link")
        new.symlink_to(target)
        new.rename(path)

    def sed(self):
        """sed -i."""
        old, new = self.routes.new_timeout()
        self.edits["timeout"] += 1
        subprocess.run(["sed", "-i", f"s/{old}/{new}/", self.file], check=True)

    def vim(self, *settings):
        """vim, as it saves by itself (a rename where it can)."""
        old, new = self.routes.new_timeout()
        self.edits["timeout"] += 1
        subprocess.run(["vim", "-es", "-u", "NONE", "-i", "NONE", "-n", *settings, "-c", f"%s/{old}/{new}/", "-c", "wq",
                        self.file], check=True, stdin=subprocess.DEVNULL)

    def vim_in_place(self):
        """vim told to write over the file."""
        self.vim("--cmd", "set backupcopy=yes")

    def touch(self):
        """Another time, the same text."""
        self.edits["nothing"] += 1
        os.utime(self.file)

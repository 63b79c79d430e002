"""The routes file in a container, and the ways in which it is edited outside."""

import os
import time

from engine import Container
from scene import HEAD, NETWORK, Scene, expect, route, until_served

PORTS = ["8080:8080", "8081:8081"]
FIRST = HEAD + route("a", 8080, ["one:3000"])
SECOND = FIRST + route("b", 8081, ["two:3000"])
REFUSED = "edit refused"


def by_rename(file, text):
    """As vim, sed -i and rsync save."""
    fresh = file.with_name(".fresh")
    fresh.write_text(text)
    fresh.rename(file)


def in_place(file, text):
    """As a shell's `>` and cp save."""
    file.write_text(text)


def an_edit_in_a_mounted_folder_arrives(stage):
    """However it is saved; and nonsense changes nothing."""
    took = []
    for save in (by_rename, in_place):
        with Scene(stage) as scene:
            scene.backend("one", 11), scene.backend("two", 12)
            folder = stage.folder("mount")
            file = folder / "portway.toml"
            file.write_text(FIRST)
            portway = scene.portway((folder, "/etc/portway"), PORTS)
            until_served(8080, "one")
            save(file, FIRST.replace("8080", "nonsense"))
            portway.wait_for(REFUSED)
            until_served(8080, "one", 1)
            began = time.monotonic()
            save(file, SECOND)
            portway.wait_for("reloaded")
            took.append(f"{save.__name__} after {time.monotonic() - began:.1f} s")
            until_served(8081, "two")
    return ", ".join(took).replace("_", " ")


def a_single_mounted_file_that_is_replaced_is_named_with_its_cure(stage):
    """Replaced by rename on the host it never changes inside."""
    with Scene(stage) as scene:
        scene.backend("one", 11)
        file = stage.folder("mount") / "portway.toml"
        file.write_text(FIRST)
        portway = scene.portway((file, "/etc/portway/portway.toml"), PORTS)
        warned = portway.wait_for("this one file is mounted by itself")
        in_place(file, FIRST + "# In place it arrives.\n")
        portway.wait_for("nothing changed")
        by_rename(file, SECOND)
        named = portway.wait_for("the file was replaced outside")
        for record in (warned, named):
            expect(record["level"] == "WARN" and "mount" in record["message"] and "folder" in record["message"],
                   f"no cure in {record}")
        until_served(8080, "one", 1)
        status = scene.engine("exec", "portway", "/usr/bin/portway", "status")
        expect("replaced outside" in status and "mount its folder" in status, f"not in the status:\n{status}")
        return named["message"]


def a_configmap_arrives(stage):
    """As the kubelet writes it: portway.toml is a link through `..data`, a link that is replaced by rename."""
    def write(folder, version, text):
        (folder / version).mkdir()
        (folder / version / "portway.toml").write_text(text)
        (folder / "..data_tmp").symlink_to(version)
        os.rename(folder / "..data_tmp", folder / "..data")

    with Scene(stage) as scene:
        scene.backend("one", 11), scene.backend("two", 12)
        folder = stage.folder("configmap")
        write(folder, "..2026_11_25_1", FIRST)
        (folder / "portway.toml").symlink_to("..data/portway.toml")
        portway = scene.portway((folder, "/etc/portway"), PORTS)
        began = time.monotonic()
        write(folder, "..2026_11_25_2", SECOND)
        portway.wait_for("reloaded")
        took = time.monotonic() - began
        (folder / "..2026_11_25_1/portway.toml").unlink()
        (folder / "..2026_11_25_1").rmdir()
        until_served(8081, "two")
        return f"after {took:.1f} s"


def a_file_that_docker_cp_brings_arrives(stage):
    """R10: `docker cp` removes the file in the container and writes it anew; also where a route is taken away."""
    with Scene(stage) as scene:
        scene.backend("one", 11), scene.backend("two", 12)
        file, took = stage.folder("copied") / "portway.toml", []

        def copy(text):
            file.write_text(text)
            scene.engine("cp", file, "portway:/etc/portway/portway.toml")

        scene.engine("create", *scene.engine.RUN, "--name", "portway", "--network", NETWORK, scene.image, "run")
        copy(FIRST)
        scene.engine("start", "portway")
        portway = Container(scene.engine, "portway")
        portway.wait_for("ready")
        for count, text in enumerate((SECOND, FIRST, SECOND), 1):
            copy(text)
            began = time.monotonic()
            portway.wait_for("reloaded", count)
            took.append(time.monotonic() - began)
        expect(max(took) < 3, f"after {took} s")
        return f"after at most {max(took):.1f} s"


TESTS = [an_edit_in_a_mounted_folder_arrives, a_file_that_docker_cp_brings_arrives, a_single_mounted_file_that_is_replaced_is_named_with_its_cure,
         a_configmap_arrives]

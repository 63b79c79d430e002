"""deploy/kubernetes.yaml and deploy/kubernetes-daemonset.yaml against the schemas of Kubernetes, and against what the image does."""

import os
import subprocess
import sys

from machine import REPOSITORY, Fault
from rights import LOW_PORTS, status
from scene import HARDENED, expect

# Of the first that can do what the file says, and of a late one.
VERSIONS = ["1.30", "1.37"]
FILE, DAEMONSET = REPOSITORY / "deploy/kubernetes.yaml", REPOSITORY / "deploy/kubernetes-daemonset.yaml"


def schemas():
    """Installs the checker, which brings the schemas, into target/. Returns where."""
    folder = REPOSITORY / "target/tools/kubernetes"
    if not (folder / "kubernetes_validate").exists():
        done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--target",
                               folder, "kubernetes-validate==1.37.0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Fault(f"pip cannot install kubernetes-validate:\n{done.stdout}")
    return folder


def validate(stage, path, version):
    """Exit code, and what the checker says."""
    done = subprocess.run([sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version, path],
                          env={**os.environ, "PYTHONPATH": str(stage.schemas)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def objects(stage, file=FILE):
    """What a file says, by kind."""
    sys.path.insert(0, str(stage.schemas))
    import yaml
    return {one["kind"]: one for one in yaml.safe_load_all(file.read_text())}


def is_valid(stage, file, count):
    """So many objects, all by the schemas."""
    for version in VERSIONS:
        code, said = validate(stage, file, version)
        expect(code == 0 and said.count("passed") == count, f"Kubernetes {version}: {said}")


def the_kubernetes_file_is_right(stage):
    """By the schemas; its routes compile in the image; and its times and rights fit each other."""
    is_valid(stage, FILE, 4)
    wrong = stage.folder("kubernetes") / "wrong.yaml"
    wrong.write_text(FILE.read_text().replace("terminationGracePeriodSeconds", "terminationGracePeriodSecond"))
    expect(validate(stage, wrong, VERSIONS[0])[0] != 0, "the checker finds nothing wrong with a key that there is not")

    found = objects(stage)
    (wrong.parent / "portway.toml").write_text(found["ConfigMap"]["data"]["portway.toml"])
    stage.engine.once(*HARDENED, "--volume", f"{wrong.parent}:/etc/portway:ro", stage.image, "check")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    container, = pod["containers"]
    grace = pod["terminationGracePeriodSeconds"]
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    expect('drain_timeout = "30s"' in found["ConfigMap"]["data"]["portway.toml"] and grace > waits + 30,
           f"{grace} s are not enough")
    expect([(mount["mountPath"], "subPath" in mount) for mount in container["volumeMounts"]] == [("/etc/portway", False)],
           "an edit of the ConfigMap would not arrive")
    probes = [container[f"{name}Probe"]["exec"]["command"] for name in ("startup", "readiness", "liveness")]
    expect(probes == [["/usr/bin/portway", "status"]] * 3, f"{probes}")
    return f"by the schemas of {' and '.join(VERSIONS)}"


def the_daemonset_is_right(stage):
    """By the schemas; and its container runs as it says: in the network of the machine, with its port and its probes."""
    is_valid(stage, DAEMONSET, 2)
    found = objects(stage, DAEMONSET)
    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    container, = pod["containers"]
    rights, grace = container["securityContext"], pod["terminationGracePeriodSeconds"]
    text = found["ConfigMap"]["data"]["portway.toml"]
    expect('drain_delay   = "5s"\n    drain_timeout = "30s"'.replace("    ", "") in text.replace("    ", "") and grace > 5 + 30,
           f"{grace} s are not enough")
    expect(pod["hostNetwork"] and rights["readOnlyRootFilesystem"], f"{pod}")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    folder = stage.folder("daemonset")
    (folder / "portway.toml").write_text(text)
    # As the kubelet makes an emptyDir: open to everybody.
    sockets = stage.folder("sockets")
    sockets.chmod(0o777)
    options = ["--network", "host", "--read-only", "--volume", f"{folder}:{mounts['config']}:ro",
               "--volume", f"{sockets}:{mounts['sockets']}"]
    for kind in ("drop", "add"):
        options += [part for right in rights["capabilities"][kind] for part in (f"--cap-{kind}", right)]
    if not rights["allowPrivilegeEscalation"]:
        options += ["--security-opt", "no-new-privileges"]
    portway = stage.engine.run("edge", stage.image, options=options)
    try:
        portway.wait_for("ready")
        expect(int(status(portway)["CapEff"], 16) in (LOW_PORTS, 0), f"{status(portway)}")
        probe = lambda name, code: stage.engine("exec", "edge", *container[f"{name}Probe"]["exec"]["command"], code=code)
        for name in ("startup", "readiness", "liveness"):
            probe(name, 0)
        stage.engine("kill", "--signal", "TERM", "edge")
        portway.wait_for("no longer ready")
        probe("readiness", 1), probe("liveness", 0)
        portway.wait_for("stopped")
    finally:
        stage.engine.remove_containers()
    return f"by the schemas of {' and '.join(VERSIONS)}; port 80 of the machine without root"


TESTS = [the_kubernetes_file_is_right, the_daemonset_is_right]

"""deploy/kubernetes.yaml against the schemas of Kubernetes, and against what the image does."""

import os
import subprocess
import sys

from machine import REPOSITORY, Fault
from scene import HARDENED, expect

# Of the first that can do what the file says, and of a late one.
VERSIONS = ["1.30", "1.37"]
FILE = REPOSITORY / "deploy/kubernetes.yaml"


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


def objects(stage):
    """What the file says, by kind."""
    sys.path.insert(0, str(stage.schemas))
    import yaml
    return {one["kind"]: one for one in yaml.safe_load_all(FILE.read_text())}


def the_kubernetes_file_is_right(stage):
    """By the schemas; its routes compile in the image; and its times and rights fit each other."""
    for version in VERSIONS:
        code, said = validate(stage, FILE, version)
        expect(code == 0 and said.count("passed") == 4, f"Kubernetes {version}: {said}")
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


TESTS = [the_kubernetes_file_is_right]

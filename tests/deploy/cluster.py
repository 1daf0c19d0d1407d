"""A real API server for the tests, and the programs that come with it.

One control plane (tests/controlplane) is started when the first test asks for it, and stopped at the
end of the process, however that ends: it ends with its standard input.
"""

import atexit
import functools
import os
import pathlib
import select
import shutil
import subprocess
import tempfile

import chart

CONTROL_PLANE = chart.ROOT / "tests" / "controlplane"
# The folder with kube-apiserver and the rest, as `scripts/tool kube` prints it.
PROGRAMS = "MODELWAY_TEST_KUBE"
# The folder with the CRDs of Gateway API and cert-manager, as `scripts/tool kinds` prints it.
KINDS = "MODELWAY_TEST_KINDS"
WITHOUT = f"{PROGRAMS} is not set (scripts/test does it)"
WITHOUT_KINDS = f"{KINDS} is not set (scripts/test does it)"
# The control plane boots in 4 s on two idle cores; CI's are not idle.
BOOT_LIMIT_S = 180
STOP_LIMIT_S = 60
# The first write of a new kind takes the API server 2 s.
CALL_LIMIT_S = 60


def has_control_plane():
    return bool(os.environ.get(PROGRAMS))


def has_kinds():
    return has_control_plane() and bool(os.environ.get(KINDS))


def has_kubectl():
    return has_control_plane() or shutil.which("kubectl") is not None


def kubectl_program():
    """kubectl of the control plane's version, or that of the PATH."""
    if has_control_plane():
        return str(pathlib.Path(os.environ[PROGRAMS]) / "kubectl")
    return "kubectl"


class ControlPlane:
    """etcd, kube-apiserver and the controllers, with an audit log of every call."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="modelway-deploy.")
        root = pathlib.Path(self.folder.name)
        self.directory = root / "state"
        command = [CONTROL_PLANE / "up.sh", "--controllers", "--until-eof", "--dir", self.directory]
        command += ["--arg", f"kube-apiserver=--audit-policy-file={CONTROL_PLANE / 'audit.yaml'}"]
        command += ["--arg", "kube-apiserver=--audit-log-path=audit.log"]
        environment = {**os.environ, "MODELWAY_KUBE_DIR": os.environ[PROGRAMS]}
        self.log = open(root / "up.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        ready, _, _ = select.select([self.process.stdout], [], [], BOOT_LIMIT_S)
        self.kubeconfig = self.process.stdout.readline().strip() if ready else ""
        if not self.kubeconfig:
            self.log.seek(0)
            said = self.log.read()
            self.stop()
            raise AssertionError(f"no control plane after {BOOT_LIMIT_S} s:\n{said}")

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()

    def audit_lines(self):
        return (self.directory / "audit.log").read_text(encoding="utf-8").splitlines()

    def run(self, *arguments, given=None, kubeconfig=None):
        """kubectl with these arguments: exit code, standard output, standard error."""
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        done = subprocess.run(
            [kubectl_program(), *map(str, arguments)],
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=CALL_LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def kubectl(self, *arguments, given=None, kubeconfig=None):
        """As `run`, for what has to succeed: its standard output."""
        code, output, error = self.run(*arguments, given=given, kubeconfig=kubeconfig)
        if code != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {error or output}")
        return output


@functools.cache
def shared():
    """The control plane of this process."""
    control_plane = ControlPlane()
    atexit.register(control_plane.stop)
    return control_plane

"""A router as the chart runs it, here as a process, and pods that are processes too.

The router gets the arguments and variables of the chart's Deployment, and the token of the chart's account.
Pods have no kubelet: each new one gets a stand-in model on an address of its own in 127.0.0.0/8, and is
said to be ready.
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import yaml

import chart

# The program, as `cargo test` builds it.
PROGRAM = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", chart.ROOT / "target")) / "debug" / "modelway"
WITHOUT = f"{PROGRAM} is not built (cargo test does it)"
# Anything that is waited for takes 5 s at most on two idle cores; CI's are not idle.
WAIT_LIMIT_S = 60
# The admin token of the routers of the tests.
ADMIN_TOKEN = "the-admin-token-of-the-tests"
# SIGTERM to the end: nothing runs any more by then.
END_LIMIT_S = 30
# How often things are looked at that are waited for.
LOOK_INTERVAL_S = 0.1
REPLICA_PORT = 5001
# 127.N.0.0: the Rust test kubelets have 32 to 223, servers of other tests are below.
NETWORKS = range(224, 255)
# How long the stand-in works on a request: a few clients keep a few replicas busy.
LATENCY = "100ms"


def is_built():
    return PROGRAM.exists()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_open(address):
    try:
        with socket.create_connection((address, REPLICA_PORT), WAIT_LIMIT_S):
            return True
    except ConnectionRefusedError:
        return False


def until(what, look, act=lambda: None):
    """Waits until `look` finds something, and returns it. `act` is done before each look."""
    end = time.monotonic() + WAIT_LIMIT_S
    while True:
        act()
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {WAIT_LIMIT_S} s: {what}")
        time.sleep(LOOK_INTERVAL_S)


class Api:
    """Calls as the cluster's admin, without a process for each; one thread at a time."""

    def __init__(self, kubeconfig):
        [config] = chart.documents(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile(suffix=".pem") as pem:
            for part in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[part]))
            pem.flush()
            context.load_cert_chain(pem.name)
        host = cluster["server"].removeprefix("https://")
        self.connection = http.client.HTTPSConnection(host, context=context, timeout=WAIT_LIMIT_S)

    def call(self, method, path, body=None, kind="application/merge-patch+json"):
        """Status and object of the answer."""
        given = None if body is None else json.dumps(body)
        self.connection.request(method, path, given, {"content-type": kind})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path):
        code, found = self.call("GET", path)
        if code != http.client.OK:
            raise AssertionError(f"GET {path}: {code} {found}")
        return found

    def close(self):
        self.connection.close()


class Pods:
    """Plays the kubelet for the pods of a namespace, until it is stopped."""

    def __init__(self, kubeconfig, namespace):
        self.api = Api(kubeconfig)
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        self.processes, self.addresses = {}, self.free_addresses()
        self.is_over, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def free_addresses(self):
        """Addresses whose port nobody has, no two the same."""
        networks = [(n, m) for n in NETWORKS for m in range(256)]
        random.shuffle(networks)
        for network, part in networks:
            address = f"127.{network}.{part}.1"
            try:
                socket.create_server((address, REPLICA_PORT)).close()
            except OSError:
                continue
            yield address

    def run(self):
        try:
            while not self.is_over.wait(LOOK_INTERVAL_S):
                self.look()
        except Exception as error:  # shown by `stop`: it would be lost with the thread
            self.failure = error

    def look(self):
        found = {one["metadata"]["name"]: one for one in self.api.get(self.path)["items"]}
        for name in set(self.processes) - set(found):
            self.end(name)
        for name, pod in found.items():
            if name not in self.processes and "deletionTimestamp" not in pod["metadata"]:
                self.start(name, pod)

    def start(self, name, pod):
        address = next(self.addresses)
        command = [PROGRAM, "model", "--address", address, "--name", name, "--latency", LATENCY]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes[name] = subprocess.Popen(command, **quiet)
        process = self.processes[name]
        until(f"{name} listens", lambda: is_open(address) and process.poll() is None)
        conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {}},
            }
            for container in pod["spec"]["containers"]
        ]
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": conditions,
            "containerStatuses": containers,
        }
        code, said = self.api.call("PATCH", f"{self.path}/{name}/status", {"status": status})
        # The pod may be gone again.
        if code not in (http.client.OK, http.client.NOT_FOUND):
            raise AssertionError(f"the status of pod {name}: {code} {said}")

    def end(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self):
        self.is_over.set()
        self.thread.join()
        for name in list(self.processes):
            self.end(name)
        self.api.close()
        if self.failure:
            raise self.failure


class Router:
    """`modelway serve` with the command line of the chart."""

    def __init__(self, objects, kubeconfig, folder):
        [container] = chart.only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        namespace = chart.only(objects, "Deployment")["metadata"]["namespace"]
        self.port, self.admin_port = free_port(), free_port()
        fields = {"metadata.name": "router-0", "metadata.namespace": namespace}
        variables = {
            one["name"]: one.get("value") or fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in container["env"]
        }
        # A pod finds its service account by itself; a process is told where the token is.
        given = {
            "MODELWAY_KUBECONFIG": str(kubeconfig),
            "MODELWAY_ADDRESS": "127.0.0.1",
            "MODELWAY_ADMIN_TOKEN": ADMIN_TOKEN,
        }
        ports = {"MODELWAY_PORT": str(self.port), "MODELWAY_ADMIN_PORT": str(self.admin_port)}
        clean = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "MODELWAY_LOG")}
        self.path = pathlib.Path(folder) / "router.log"
        with open(self.path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *container["args"]],
                env={**clean, **variables, **given, **ports},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def log(self):
        return self.path.read_text(encoding="utf-8")

    def ask_admin(self, path, token=None):
        """The same of the admin port, with the admin token or another one."""
        return self.ask(path, port=self.admin_port, Authorization=f"Bearer {token or ADMIN_TOKEN}")

    def ask(self, path, body=None, port=None, **headers):
        """Status and text of an answer; status 0 when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=WAIT_LIMIT_S)
        with contextlib.closing(connection):
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError:
                return 0, ""

    def stop(self):
        """Ends it in order; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Load:
    """Clients that ask for one version all the time, until stopped."""

    def __init__(self, router, path, headers, clients):
        self.is_over = threading.Event()
        self.codes = {}
        self.threads = [
            threading.Thread(target=self.run, args=(router, path, headers)) for _ in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, router, path, headers):
        while not self.is_over.is_set():
            code, _ = router.ask(path, "{}", **headers)
            self.codes[code] = self.codes.get(code, 0) + 1

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


def token_kubeconfig(kubeconfig, token, namespace, path):
    """A kubeconfig with nothing but this token, in this namespace."""
    [config] = chart.documents(kubeconfig)
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path

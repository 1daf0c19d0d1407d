#!/usr/bin/env python3
"""Writes an image of static files to standard output, for `ctr images import`.

usage: image.py NAME [--user UID] [--env K=V]... [--cmd WORD]... FILE[:PATH]... > image.tar
The first file is the entry point; PATH defaults to /NAME-OF-FILE.
"""
import argparse, hashlib, io, json, os, platform, sys, tarfile

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("--user", default="")
parser.add_argument("--env", action="append", default=[])
parser.add_argument("--cmd", action="append", default=[])
parser.add_argument("file", nargs="+")
o = parser.parse_args()


def add(tar, path, data, mode=0o644):
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


layer, entry, made = io.BytesIO(), None, set()
with tarfile.open(fileobj=layer, mode="w") as tar:
    def folder(path, mode=0o755):
        if path and path not in made:
            folder(os.path.dirname(path))
            made.add(path)
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)

    folder("tmp", 0o1777)
    folder("etc")
    add(tar, "etc/passwd", b"root:x:0:0::/:\nnonroot:x:65532:65532::/:\n")
    for f in o.file:
        source, _, target = f.partition(":")
        target = target or "/" + os.path.basename(source)
        entry = entry or target
        folder(os.path.dirname(target.lstrip("/")))
        with open(source, "rb") as data:
            add(tar, target.lstrip("/"), data.read(), os.stat(source).st_mode & 0o777)
layer = layer.getvalue()
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux",
    "config": {"Entrypoint": [entry], "Cmd": o.cmd or None, "Env": ["PATH=/"] + o.env, "User": o.user},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    "history": [{"created_by": "image.py"}],
}).encode()
digest = hashlib.sha256(config).hexdigest()
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
    add(tar, digest + ".json", config)
    add(tar, "layer.tar", layer)
    add(tar, "manifest.json", json.dumps([{"Config": digest + ".json", "RepoTags": [o.name], "Layers": ["layer.tar"]}]).encode())

# SPDX-License-Identifier: Apache-2.0
"""A host with multipath maps: its /sys/block, and a multipathd that answers in its own packets.

Hand-made from sources, as no device-mapper was at hand: the JSON from libmultipath/print.c (PRINT_JSON_MAP, _GROUP, _PATH, the
same from 0.8.9 to 0.14; RELEASES tells what older ones lack, in print.h then; 0.6.1 has no JSON), packets from libmpathcmd/mpath_cmd.c, the tree from Documentation/ABI/testing/sysfs-block-dm; slaves
and devices are links in life, and directories here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

GOOD = {"dm_st": "active", "dev_st": "running", "chk_st": "ready", "marginal_st": "normal"}
RELEASES = {
    "0.6.2": ("marginal_st", "lun_hex"),
    "0.7.4": ("marginal_st", "lun_hex"),
    "0.8.3": ("lun_hex",),
    "0.8.9": (),
}
WWID = "3600c0ff000d5b5a1{:016x}"


def path(dev, adapter="0000:81:00.0", target="0x207000c0ff1ab2c3", **words):
    """One path, of a Fibre Channel disk."""
    return {
        "dev": dev, "dev_t": "8:0", **GOOD, "checker": "tur", "pri": 50, "host_wwnn": "0x20000090fa112233",
        "target_wwnn": "0x208000c0ff1ab2c3", "host_wwpn": "0x10000090fa112233", "target_wwpn": target,
        "host_adapter": adapter, "lun_hex": "0x0001000000000000", **words,
    }  # fmt: skip


def four(first="a", **words):
    """Four paths: two adapters, two ports."""
    letters = [chr(ord(first) + at) for at in range(4)]
    return [
        path(f"sd{x}", f"0000:81:00.{at % 2}", f"0x20700000000000{at // 2:02x}", **words)
        for at, x in enumerate(letters)
    ]


def made(name="mpatha", number=0, paths=None, **words):
    """One map, its paths in one group."""
    paths = four() if paths is None else paths
    return {
        "name": name, "uuid": WWID.format(number), "sysfs": f"dm-{number}", "failback": "immediate", "queueing": "off",
        "paths": len(paths), "write_prot": "rw", "dm_st": "active", "features": "0", "hwhandler": "1 alua", "action": "",
        "path_faults": 0, "vend": "DellEMC", "prod": "ME4", "rev": "G280", "switch_grp": 0, "map_loads": 1,
        "total_q_time": 0, "q_timeouts": 0,
        "path_groups": [
            {"selector": "service-time 0", "pri": 50, "dm_st": "active", "marginal_st": "normal", "group": 1, "paths": paths}
        ],
        **words,
    }  # fmt: skip


def host(maps=400, each=8):
    """A big host: 400 maps of 8 paths, two adapters, four ports."""
    paths = [
        [path(f"sd{at}x{n}", f"0000:81:00.{n % 2}", f"0x20700000000000{n // 2:02x}") for n in range(each)]
        for at in range(maps)
    ]
    return [made(f"mpath{at}", at, paths[at]) for at in range(maps)]


def answer(*maps):
    """What multipathd says."""
    return json.dumps({"major_version": 0, "minor_version": 1, "maps": list(maps)}, indent=3) + "\n"


def of_release(release, found):
    """The same map as an older release tells it."""
    groups = [
        {key: value for key, value in group.items() if key not in RELEASES[release]} for group in found["path_groups"]
    ]
    for group in groups:
        group["paths"] = [
            {key: value for key, value in one.items() if key not in RELEASES[release]} for one in group["paths"]
        ]
    return {**found, "path_groups": groups}


def sysfs(root, *maps, suspended="0", states=None):
    """Lay the kernel's tree of these maps below `root`; `states` gives devices another state, None none at all."""
    block = Path(root, "sys/block")
    for found in maps:
        home = block / found["sysfs"]
        (home / "dm").mkdir(parents=True, exist_ok=True)
        for name, text in (("name", found["name"]), ("uuid", "mpath-" + found["uuid"]), ("suspended", suspended)):
            (home / "dm" / name).write_text(f"{text}\n")
        (home / "slaves").mkdir(exist_ok=True)
        for group in found["path_groups"]:
            for one in group["paths"]:
                device = home / "slaves" / one["dev"] / "device"
                device.mkdir(parents=True, exist_ok=True)
                state = (states or {}).get(one["dev"], "running")
                if state is not None:
                    (device / "state").write_text(f"{state}\n")
    block.mkdir(parents=True, exist_ok=True)
    return str(root)


@contextmanager
def daemon(root, text, *, cut=None, announced=None, hang=False):
    """Answer at the socket below `root` with this text, for as many clients as come; give what they asked.

    cut        so many bytes of the answer only
    announced  another length than the answer has
    hang       say nothing
    """
    (Path(root) / "run").mkdir(exist_ok=True)
    asked = []
    here = os.open(f"{root}/run", os.O_RDONLY)  # a Unix socket's name is 108 bytes at most
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"/proc/self/fd/{here}/multipathd.socket")
        os.close(here)
        server.listen(8)
        held = []

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                head = client.recv(8, socket.MSG_WAITALL)
                asked.append(client.recv(int.from_bytes(head, sys.byteorder), socket.MSG_WAITALL))
                if hang:
                    held.append(client)
                    continue
                data = text.encode() + b"\0"
                size = len(data) if announced is None else announced
                with client:
                    try:
                        client.sendall(size.to_bytes(8, sys.byteorder) + data[:cut])
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            os.unlink(f"{root}/run/multipathd.socket")
            for client in held:
                client.close()

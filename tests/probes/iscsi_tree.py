# SPDX-License-Identifier: Apache-2.0
"""iSCSI sessions as /sys shows them, hand-made from drivers/scsi/scsi_transport_iscsi.c (words and formats of Linux 6.1).

`device` is a link in life, and a directory here.
"""

from __future__ import annotations

from tests.probes.kernel_tree import put

TARGET = "iqn.2026-11.example:vol{}"


def session(
    root,
    number,
    address="192.0.2.10",
    *,
    target=1,
    state="LOGGED_IN",
    tmo="120",
    iface="default",
    disk="",
    connection="up",
    netdev="(null)",
    driver="iscsi_tcp",
    disk_state="running",
):
    """One session with one connection and a host of its own, as iscsi_tcp has it.

    disk        its block device, "" for none
    connection  None: a kernel before 5.7
    """
    home = f"/sys/class/iscsi_session/session{number}"
    for name, text in (
        ("targetname", TARGET.format(target)),
        ("state", state),
        ("recovery_tmo", tmo),
        ("ifacename", iface),
    ):
        put(root, f"{home}/{name}", text)
    put(root, f"{home}/device/target{number}:0:0/{number}:0:0:0/type", "12")  # tgt's LUN 0 is a controller
    if disk:
        put(root, f"{home}/device/target{number}:0:0/{number}:0:0:1/block/{disk}/size", "8")
        put(root, f"{home}/device/target{number}:0:0/{number}:0:0:1/state", disk_state)
    put(root, f"/sys/class/iscsi_host/host{number}/netdev", netdev)
    put(root, f"/sys/class/iscsi_host/host{number}/device/session{number}/uevent", "")
    put(root, f"/sys/class/scsi_host/host{number}/proc_name", driver)
    home = f"/sys/class/iscsi_connection/connection{number}:0"
    put(root, f"{home}/persistent_address", address)
    put(root, f"{home}/persistent_port", "3260")
    if connection is not None:
        put(root, f"{home}/state", connection)
    return str(root)


def multipath(root, disk, holder="dm-0"):
    """Put a disk under multipath."""
    put(root, f"/sys/block/{disk}/holders/{holder}/dev", "253:0")
    put(root, f"/sys/block/{holder}/dm/uuid", "mpath-3600")


def processes(root, *names):
    for at, name in enumerate(names, 1):
        put(root, f"/proc/{at}/comm", name)
    return str(root)

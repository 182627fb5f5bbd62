# SPDX-License-Identifier: Apache-2.0
"""LIO's tree in configfs, hand-made: the layout that Documentation/target/target-export-device of Linux 6.1 lays out.

Words of files: target_dev_enable_show, target_core_file.c and target_core_iblock.c (show_configfs_dev_params),
lio_target_nacl_info_show of iscsi_target_configfs.c, target_show_dynamic_sessions of target_core_transport.c.
"""

from __future__ import annotations

import os
from pathlib import Path

TARGET = "iqn.2003-01.org.linux-iscsi.one:vol{}"
CLIENT = "iqn.1994-05.com.redhat:nc{}"
HOME = "sys/kernel/config/target"
NOBODY = "No active iSCSI Session for Initiator Endpoint: {}\n"
LOGGED_IN = (
    "InitiatorName: {}\nInitiatorAlias: nc1.example\nLIO Session ID: 1   ISID: 0x00 02 3d 01 00 00  TSIH: 1  "
    "SessionType: Normal\nSession State: TARG_SESS_STATE_LOGGED_IN\n"
)
STATUS = "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384\n"
FILEIO = STATUS + "        TCM FILEIO ID: 0        File: {}  Size: 10485760  Mode: O_DSYNC Async: 0\n"
IBLOCK = (
    STATUS + "        iBlock device: sdb  UDEV PATH: {}  readonly: 0\n        Major: 8 Minor: 16  CLAIMED: IBLOCK\n"
)


def put(root, path, text):
    file = Path(root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def store(root, name, path, *, hba="fileio_0", info=FILEIO, udev=True, enable="1\n"):
    """A storage object; `udev` False: nobody told udev_path."""
    home = f"{HOME}/core/{hba}/{name}"
    put(root, f"{home}/enable", enable)
    put(root, f"{home}/udev_path", f"{path}\n" if udev else "")
    put(root, f"{home}/info", info.format(path))


def target(root, number=1, *, stores=(), enable="1\n", portals=("0.0.0.0:3260",), clients=(), dynamic=(), group=1):
    """A target with a group; `stores` are "HBA/NAME" of its LUNs, `clients` pairs of initiator and the text of info."""
    for other in ("discovery_auth", TARGET.format(number)):
        os.makedirs(Path(root, HOME, "iscsi", other), exist_ok=True)
    put(root, f"{HOME}/iscsi/lio_version", "Datera Inc. iSCSI Target v4.1.0\n")
    home = f"{HOME}/iscsi/{TARGET.format(number)}/tpgt_{group}"
    put(root, f"{home}/enable", enable)
    put(root, f"{home}/dynamic_sessions", "".join(f"{name}\n\0" for name in dynamic))
    for place in ("acls", "lun", "np", *(f"np/{portal}" for portal in portals)):
        os.makedirs(Path(root, home, place), exist_ok=True)
    for at, name in enumerate(stores):
        lun = Path(root, home, "lun", f"lun_{at}")
        put(lun, "alua_tg_pt_offline", "0\n")
        (lun / "statistics").mkdir(exist_ok=True)
        if name and not (lun / "data").is_symlink():
            (lun / "data").symlink_to(f"../../../../../../target/core/{name}")
    for name, text in clients:
        put(root, f"{home}/acls/{name}/info", text.format(name))

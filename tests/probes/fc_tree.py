# SPDX-License-Identifier: Apache-2.0
"""Fibre Channel ports as /sys shows them, hand-made from drivers/scsi/scsi_transport_fc.c (words and formats of Linux 6.1)."""

from __future__ import annotations

from tests.probes.kernel_tree import put

WWPN = "0x10000090fa1122{:02x}"
TARGET = "0x50060160082000{:02x}"
COUNTS = ("error_frames", "invalid_crc_count", "invalid_tx_word_count", "link_failure_count", "loss_of_signal_count")


def port(root, number, *, counts=None, **words):
    """One port; `counts` are hexadecimal in life, as here."""
    home = f"/sys/class/fc_host/host{number}"
    known = {
        "port_name": WWPN.format(number), "port_state": "Online", "speed": "16 Gbit", "port_type": "NPort (fabric via point-to-point)",
        "supported_speeds": "4 Gbit, 8 Gbit, 16 Gbit", **words,
    }  # fmt: skip
    for name, text in known.items():
        put(root, f"{home}/{name}", text)
    for name, count in {**dict.fromkeys(COUNTS, 0), "nos_count": (1 << 64) - 1, **(counts or {})}.items():
        put(root, f"{home}/statistics/{name}", hex(count) if isinstance(count, int) else count)
    return str(root)


def target(root, host, number, state="Online", roles="FCP Target"):
    """One remote port that a host sees."""
    home = f"/sys/class/fc_remote_ports/rport-{host}:0-{number}"
    for name, text in (("port_name", TARGET.format(number)), ("port_state", state), ("roles", roles)):
        put(root, f"{home}/{name}", text)
    return str(root)

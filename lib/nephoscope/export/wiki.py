# SPDX-License-Identifier: Apache-2.0
"""What the Eucalyptus wiki's page "Monitoring" says that an agent could check for, and which check does.

The items are that page's, condensed, in its order; a check declares the ones that it answers (`answers=("W12",)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nephoscope.plugin import Check

ITEMS = {
    "W1": ("OS", "CPU load"),
    "W2": ("OS", "System load"),
    "W3": ("OS", "Memory usage"),
    "W4": ("OS", "Swap usage"),
    "W5": ("OS", "Disk space"),
    "W6": ("OS", "Network traffic"),
    "W7": ("OS", "Total processes"),
    "W8": ("OS", "I/O"),
    "W9": ("Cloud", "Running images"),
    "W10": ("Cloud", "Running instance types"),
    "W11": ("Cloud", "Available resources"),
    "W12": ("Cloud", "Available cores"),
    "W13": ("CLC", "PostgreSQL: connections, errors of proxool, can it be connected to"),
    "W14": ("CLC", "Number of public addresses allocated"),
    "W15": ("CLC", "Number of available instances for each type"),
    "W16": ("CLC", "Errors in VmInstance$RestoreAllocation"),
    "W17": ("CLC, Walrus, SC", "JVM: use of the heap, time of full collections"),
    "W18": ("CLC", "TCP port 8773 listens"),
    "W19": ("Walrus", "Size of the cache"),
    "W20": ("Walrus", "Disk usage of the bukkits"),
    "W21": ("Walrus", "DRBD: synchronisation and role"),
    "W22": ("Walrus", '"Peer is primary and I am supposed to be master! Unable to proceed!"'),
    "W23": ("Walrus", "TCP port 8773 listens"),
    "W24": ("CC", "NODES of paired cluster controllers are the same"),
    "W25": ("CC", "Versions of the rampart packages of CC and NC are the same"),
    "W26": ("CC", "Errors in talking to a node controller"),
    "W27": ("CC", "Network tomography: partitions, routing, switching"),
    "W28": ("CC", "TCP port 8774 listens"),
    "W29": ("CC", "Size of the image cache against its limit"),
    "W30": ("SC", "Local cache"),
    "W31": ("SC", "Loop devices in use"),
    "W32": ("SC", "Disk space of /var/lib/eucalyptus/volumes"),
    "W33": ("SC", "Failed snapshots"),
    "W34": ("SC", "State of tgtd"),
    "W35": ("SC", '"iSCSI session from another initiator already exists"'),
    "W36": ("SC", "Waiting for I/O"),
    "W37": ("SC", "TCP port 8773 listens"),
    "W38": ("NC", "Kernel: load, call traces of io_schedule"),
    "W39": ("NC", "libvirtd is alive"),
    "W40": ("NC", "Loop devices in use"),
    "W41": ("NC", "iscsid"),
    "W42": ("NC", "iscsiadm can establish sessions"),
    "W43": ("NC", "libvirtd"),
    "W44": ("NC", "Disk space of instances/cache and instances/work"),
    "W45": ("NC", "No describeResources request within the warning time"),
    "W46": ("NC", "No describeResources request within the error time"),
    "W47": ("NC", "iscsiadm does not respond, or has errors about loading a kernel module"),
    "W48": ("NC", "TCP port 80 listens (meant is 8775, where every version of the node controller serves)"),
}
# Why no check answers it.
UNANSWERED = {
    "W10": "how many run of each type is no state; what is left for each type is (W15)",
    "W19": "the cache ended with 4.0; in 3.x its room is that of the bukkits (W20)",
    "W24": "pairs of cluster controllers ended with 4.2, and comparing files of two hosts is a question about configuration "
    "that no check asks yet",
    "W25": "a question for configuration management (`check_config_agent`): packages of two hosts, not the state of one",
    "W27": "comes with the network checks; until then `check_euca_services --views` shows hosts that see the cloud differently",
    "W30": "no version keeps a cache on the storage controller that could be told from its volumes (W32)",
    "W41": "it is started when a volume is attached, so that its absence says nothing; the wiki doubts the item itself. "
    "Its failures are faults 2001 and 2003 (W42)",
}


def faults(checks: Sequence[Check]) -> list[str]:
    """Return the items that are neither answered nor explained, that are both, or that the wiki does not have."""
    answered = {item for check in checks for item in check.answers}
    explained = set(UNANSWERED)
    return sorted((set(ITEMS) - answered - explained) | (answered & explained) | (answered - set(ITEMS)))


def page(checks: Sequence[Check]) -> list[str]:
    """Return the lines of the page."""
    answers = {item: [f"[{c.name}]({c.name}.md)" for c in checks if item in c.answers] for item in ITEMS}
    number = sum(bool(found) for found in answers.values())
    lines = ["# The wiki's list of what to monitor", ""]
    lines += [f'The page "Monitoring" of the Eucalyptus wiki lists {len(ITEMS)} items; {number} have a check.', ""]
    lines += ["| item | of | what | check, or why none |", "| --- | --- | --- | --- |"]
    for item, (area, text) in ITEMS.items():
        lines.append(f"| {item} | {area} | {text} | {', '.join(answers[item]) or UNANSWERED.get(item, '')} |")
    return lines

# SPDX-License-Identifier: Apache-2.0
"""Where the logs of well-known things are, and which of their lines tell of a fault.

A pack is the options that `check_log --preset` fills in. Where a part of a path is in brackets the log may be missing (it
is then a glob, and a glob may match nothing as long as another one matches); a path without brackets must be there.
"""

from __future__ import annotations

from typing import Any


def _openstack(*services: str) -> tuple[str, ...]:
    """Return the globs of services' logs, from distribution packages and from kolla-ansible."""
    return tuple(f"{base}/{name}/*.log" for base in ("/var/log", "/var/log/kolla") for name in services)


_EUCALYPTUS = "/var/log/eucalyptus"

# The kernel's own words (kernel/hung_task.c, kernel/watchdog.c, arch/x86/kernel/cpu/mce, fs/ext4/super.c, fs/xfs, block/
# blk-core.c, net/netfilter/nf_conntrack_core.c, mm/oom_kill.c, drivers/scsi/libiscsi.c, drivers/md/dm-mpath.c).
KERNEL: dict[str, Any] = {
    "kernel": True,
    "only_patterns": True,
    "pattern": (
        "blocked for more than [0-9]+ seconds",
        r"EXT4-fs error",
        r"XFS .*(Corruption|Internal error|[Ss]hutting down)",
        r"BTRFS (error|critical)",
        r"I/O error, dev ",
        r"Remounting filesystem read-only",
        r"nf_conntrack: .*table full, dropping packet",
        r"Out of memory: Kill",
        r"detected conn error",
        r"device-mapper: multipath: .*Failing path",
        r"neighbour: .*table overflow",
    ),
    "critical_pattern": (
        r"Machine check events logged",
        r"\[Hardware Error\]",
        r"soft lockup",
        r"LOCKUP on cpu",
        r"Kernel panic",
        r"kernel BUG at",
        r"Oops: ",
        r"general protection fault",
    ),
    "mode": ("errors",),
}

# oslo.messaging's driver for RabbitMQ and its executors; amqp raises "Too many heartbeats missed".
AMQP: dict[str, Any] = {
    "file": _openstack("nova", "neutron", "cinder", "glance", "heat", "keystone", "octavia", "magnum"),
    "only_patterns": True,
    "pattern": (
        r"AMQP server on \S+ is unreachable",
        r"Unable to connect to AMQP server",
        r"Too many heartbeats missed",
        r"Timed out waiting for a reply to message ID",
        r"MessagingTimeout",
        r"due to a missing queue",
        r"Unexpected error during heartbeat thread processing",
    ),
    "mode": ("errors",),
}

CINDER: dict[str, Any] = {"file": _openstack("cinder"), "mode": ("errors", "debug", "correlate")}

# nova/virt/libvirt/imagecache.py, at level info: the earliest sign that shared base files are being deleted.
NOVA_IMAGECACHE: dict[str, Any] = {
    "file": ("/var/log/nova/nova-compute.lo[g]", "/var/log/kolla/nova/nova-compute.lo[g]"),
    "only_patterns": True,
    "pattern": (r"Removing base or swap file", r"Failed to remove /\S+, error was"),
    "mode": ("errors",),
}

# dnsmasq src/rfc2131.c, src/forward.c, src/dhcp.c, by way of syslog or of neutron's own files.
DNSMASQ: dict[str, Any] = {
    "file": ("/var/log/syslo[g]", "/var/log/message[s]", "/var/log/daemon.lo[g]", "/var/log/neutron/dnsmasq*.log"),
    "only_patterns": True,
    "pattern": (
        r"dnsmasq.* no address available",
        r"dnsmasq.* DHCPNAK",
        r"dnsmasq.* Maximum number of concurrent DNS queries reached",
        r"dnsmasq.* failed to (create|bind|send|read|access)",
    ),
    "mode": ("errors",),
}

EUCA_CLC: dict[str, Any] = {
    "file": (f"{_EUCALYPTUS}/cloud-output.log", f"{_EUCALYPTUS}/cloud-erro[r].log", f"{_EUCALYPTUS}/*-fault.log"),
    "pattern": (r"OutOfMemoryError", r"proxool.*ERROR", r"PARTITION DETECTED", r"VmInstance\$RestoreAllocation"),
    "mode": ("errors", "debug", "correlate"),
}

EUCA_SC: dict[str, Any] = {
    "file": (f"{_EUCALYPTUS}/cloud-output.log", f"{_EUCALYPTUS}/*-fault.log"),
    "pattern": (
        r"Could not create loopback device",
        r"iSCSI session from another initiator already exists",
        r"File not found \(permission denied\)",
        r"OutOfMemoryError",
    ),
    "mode": ("errors", "debug", "correlate"),
}

# cluster/handlers.c: the node that does not answer is named in the line; util/httpd: a child that crashed.
EUCA_CC: dict[str, Any] = {
    "file": (
        f"{_EUCALYPTUS}/cc.log",
        f"{_EUCALYPTUS}/axis2[c].log",
        f"{_EUCALYPTUS}/httpd-c*_error_log",
        f"{_EUCALYPTUS}/cc-faul[t].log",
    ),
    "pattern": (
        r"bad return from ncDescribeResource",
        r"error message from ncDescribeResource",
        r"call to refresh_resources\(\) failed in monitor thread",
        r"cannot get network ground truth from CLC",
        r"network state maintainance failed",
        r"NODES parameter is missing",
        r"\[rampart\]\[eucalyptus-verify\]",
        r"child pid [0-9]+ exit signal",
    ),
    "mode": ("errors", "debug", "correlate"),
}

# storage/.../DRBDStorageManager.java of 3.x, and the gateway's words under back pressure.
EUCA_WALRUS: dict[str, Any] = {
    "file": (f"{_EUCALYPTUS}/cloud-output.log", f"{_EUCALYPTUS}/*-fault.log"),
    "pattern": (
        r"Peer is primary and I am supposed to be master",
        r"I am the master, but not DRBD primary",
        r"Resource connected but not up to date",
        r"Timed out writing data to stream",
        r"Aborted Upload, could not process data in time",
        r"Connectivity check to S3 endpoint failed",
        r"OutOfMemoryError",
    ),
    "mode": ("errors", "debug", "correlate"),
}

EUCA_NC: dict[str, Any] = {
    "file": (
        f"{_EUCALYPTUS}/nc.log",
        f"{_EUCALYPTUS}/axis2[c].log",
        f"{_EUCALYPTUS}/eucanet[d].log",
        f"{_EUCALYPTUS}/httpd-n*_error_log",
        f"{_EUCALYPTUS}/nc-faul[t].log",
    ),
    "pattern": (
        r"Service eucanetd not running",
        r"timed out on libvirt refreshing thread",
        r"Can't get connection to libvirt",
        r"\[rampart\]\[eucalyptus-verify\]",
        r"insufficient disk space for virtual machines",
        r"child pid [0-9]+ exit signal",
    ),
    "mode": ("errors", "debug", "correlate"),
}

# oslo.service: loopingcall.py "Function %r run outlasted interval by %.2f sec", periodic_task.py "Error during %s".
PERIODIC: dict[str, Any] = {
    "file": _openstack("nova", "neutron", "cinder"),
    "only_patterns": True,
    "pattern": (r"run outlasted interval by", r"oslo_service\.periodic_task .*Error during "),
    "mode": ("errors",),
}

CONTROLLER: dict[str, Any] = {
    "file": _openstack("nova", "neutron", "cinder", "glance", "heat", "keystone"),
    "mode": ("errors", "debug", "correlate"),
}

COMPUTE: dict[str, Any] = {
    "file": ("/var/log/nova/nova-compute.lo[g]", "/var/log/kolla/nova/nova-compute.lo[g]", *_openstack("neutron")),
    "mode": ("errors", "debug", "correlate"),
}

# SPDX-License-Identifier: Apache-2.0
"""By what the daemons of a cloud are known in a process list.

Sources: the console scripts of the OpenStack projects (their setup.cfg), Debian's and kolla's ways of starting their APIs under
uwsgi or Apache (mod_wsgi with `display-name`), Eucalyptus' systemd units and the files eucalyptus-cluster.in and
eucalyptus-node.in, which run httpd with a configuration of their own.
"""

from __future__ import annotations

from typing import NamedTuple

WEB = ("uwsgi*", "apache2", "httpd", "gunicorn*", "mod_wsgi*", "(wsgi:*")


class Rule(NamedTuple):
    """How one daemon is known: by its program, and for a program that serves many masters by its command line.

    programs  globs, held against the names of a process (see `process.names`)
    web       globs of web servers that may run it, which count when `cmdline` is found
    cmdline   regular expression, searched in the command line of what matched `web`, or `programs` if there is no `web`
    guests    one process for each guest: tenants make them, so they are only counted
    """

    programs: tuple[str, ...]
    web: tuple[str, ...] = ()
    cmdline: str = ""
    guests: bool = False


def _api(cmdline: str, *programs: str) -> Rule:
    return Rule(programs, WEB, cmdline)


KNOWN = {
    "keystone": _api(r"keystone", "keystone-all", "keystone-wsgi-*"),
    "placement-api": _api(r"placement", "placement-api"),
    "nova-api": _api(
        r"nova[-_.](compute[-_])?(wsgi[-_.])?(osapi[-_.])?(api|compute)", "nova-api", "nova-api-os-compute"
    ),
    "glance-api": _api(r"glance[-_.](wsgi[-_.])?api", "glance-api"),
    "neutron-server": _api(r"neutron[-_.](wsgi[-_.])?(api|server)", "neutron-server", "neutron-api"),
    "cinder-api": _api(r"cinder[-_.](wsgi|api)", "cinder-api"),
    "heat-api": _api(r"heat[-_.](wsgi[-_.])?api(?![-_.](cfn|cloudwatch))", "heat-api"),
    "octavia-api": _api(r"octavia[-_.](wsgi|api)", "octavia-api"),
    "barbican-api": _api(r"barbican", "barbican-api", "barbican-wsgi-api"),
    "designate-api": _api(r"designate", "designate-api"),
    "magnum-api": _api(r"magnum", "magnum-api"),
    "manila-api": _api(r"manila", "manila-api"),
    "ironic-api": _api(r"ironic[-_.](wsgi|api)", "ironic-api"),
    "horizon": Rule((), WEB, r"horizon|openstack[-_]dashboard"),
    # Any one of them makes the network of a node.
    "neutron-agent": Rule(
        ("neutron-openvswitch-agent", "neutron-linuxbridge-agent", "neutron-macvtap-agent", "ovn-controller")
    ),
    "libvirt": Rule(("libvirtd", "virtqemud")),
    "qemu": Rule(("qemu-system-*", "qemu-kvm", "kvm"), guests=True),
    "mysql": Rule(("mysqld", "mariadbd")),
    "rabbitmq": Rule(("beam.smp",), cmdline=r"rabbit"),
    "ntp": Rule(("chronyd", "ntpd", "systemd-timesyncd")),
    # The launcher loads the JVM into itself; a java of its own was seen with other start scripts.
    "eucalyptus-cloud": Rule(("eucalyptus-cloud",), ("java",), r"^(?!.*CassandraDaemon).*eucalyptus"),  # 5.0 has both
    "eucalyptus-cc": Rule((), ("httpd", "apache2"), r"httpd-(cc|cluster)\.conf"),
    "eucalyptus-nc": Rule((), ("httpd", "apache2"), r"httpd-(nc|node)\.conf"),
    "eucalyptus-postgres": Rule(("postgres",), cmdline=r"/eucalyptus/db"),
    "eucaconsole": Rule(("eucaconsole",), ("gunicorn*", "pserve"), r"eucaconsole"),
}


def rule(name: str) -> Rule:
    """Return the rule for a name of KNOWN; any other name is that of a program, or a glob of such names."""
    return KNOWN.get(name) or Rule((name,))


# Role -> what it is, and what runs there (NAME or NAME=N; 0: it may run). Sources: the guide's example architectures for
# OpenStack, "Resources to monitor" of the Eucalyptus 5 documentation, and its systemd units.
ROLES = {
    "openstack_controller": (
        "OpenStack controller: identity, image, compute, network and volume services",
        *("keystone", "glance-api", "placement-api", "nova-api", "nova-scheduler", "nova-conductor"),
        *("neutron-server", "cinder-api", "cinder-scheduler", "ntp"),
    ),
    "nova_api": ("OpenStack's compute API alone", "nova-api"),
    "nova_compute": ("OpenStack compute node", "nova-compute", "neutron-agent", "libvirt", "qemu=0", "ntp"),
    "nova_network": (
        "OpenStack compute node with nova-network",
        "nova-compute",
        "nova-network",
        "libvirt",
        "qemu=0",
        "ntp",
    ),
    "neutron_agents": (
        "OpenStack network node with agents",
        *("neutron-agent", "neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent", "ntp"),
    ),
    "cinder_volume": ("OpenStack volume node", "cinder-volume", "ntp"),
    "euca_clc": ("Eucalyptus cloud controller with its database", "eucalyptus-cloud", "eucalyptus-postgres", "ntp"),
    "euca_ufs": (
        "Eucalyptus user services, Walrus, or a 5.x cluster controller: the JVM alone",
        "eucalyptus-cloud",
        "ntp",
    ),
    "euca_cc": ("Eucalyptus cluster controller up to 4.4", "eucalyptus-cc", "ntp"),
    "euca_sc": (
        "Eucalyptus storage controller with volumes of its own (overlay, DAS)",
        "eucalyptus-cloud",
        "tgtd",
        "ntp",
    ),
    "euca_nc": ("Eucalyptus node controller", "eucalyptus-nc", "libvirt", "qemu=0", "ntp"),
    "euca_edge": ("network daemons of a Eucalyptus node in EDGE mode", "eucanetd", "dhcpd"),
    "euca_console": ("Eucalyptus console", "eucaconsole", "memcached"),
}

# SPDX-License-Identifier: Apache-2.0
"""The management addresses of an array that the cloud itself uses: Cinder's configuration, Eucalyptus' zone properties.

Sources: the drivers' documented options (Cinder configuration reference, "Volume drivers"): san_ip (Pure, Unity, VNX,
EqualLogic, PowerStore, 3PAR's SSH), netapp_server_hostname, hpe3par_api_url and its older name hp3par_api_url; only sections
that enabled_backends names are used by the service. Eucalyptus: ZONE.storage.sanhost, "may be a list" (its Storage Controller's
properties; separated by commas).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import euca_settings, oslo_conf

# Option -> profiles whose drivers use it; () for all.
NAMES = {
    "san_ip": (),
    "netapp_server_hostname": ("netapp", "netapp-snmp"),
    "hpe3par_api_url": ("3par",),
    "hp3par_api_url": ("3par",),
}
# What a back-end's volume_driver has in its name, by profile.
DRIVERS = {
    "netapp": ("netapp",),
    "netapp-snmp": ("netapp",),
    "equallogic": ("eqlx", "ps.", "equallogic"),
    "vnx": ("vnx",),
    "unity": ("unity",),
    "3par": ("3par",),
    "pure": ("pure",),
}


def addresses(run: Run, options: Any) -> list[str]:
    """Return -H, --address, those of --cinder-conf and those of --zone, each once, in this order.

    Raises Failed: what hides the configuration; absent when it names no address for this profile; as `euca_settings.values`.
    """
    found = [options.hostname] if options.hostname else []
    found += options.address
    if options.cinder_conf:
        found += of_cinder(run, options.cinder_conf, options.profile)
    if options.zone:
        name = f"{options.zone}.storage.sanhost"
        value = euca_settings.values(run, options, name).get(name, "")
        if not value:
            raise Failed(ABSENT, options.zone, f"read {name}", "is not set: is the zone's back-end an array?")
        found += _listed(value)
    return list(dict.fromkeys(found))


def of_cinder(run: Run, path: str, profile: str) -> list[str]:
    """Return the management addresses of the enabled back-ends whose driver is of this profile's family.

    Raises Failed: as `oslo_conf.read`; absent when there is none.
    """
    conf = oslo_conf.read(run, path)
    found: list[str] = []
    try:
        enabled = set(_listed(conf.get("DEFAULT", "enabled_backends") or ""))
        for section in enabled:
            driver = (conf.get(section, "volume_driver") or "").lower()
            if profile in DRIVERS and not any(word in driver for word in DRIVERS[profile]):
                continue
            for name, profiles in NAMES.items():
                if not profiles or profile in profiles:
                    value = conf.get(section, name) or ""
                    found += [urlsplit(value).hostname or ""] if "://" in value else _listed(value)
    except KeyError as error:
        raise Failed(UNREADABLE, path, f"read {path}", f"refers to ${error.args[0]}, which it does not set") from None
    found = sorted({address for address in found if address})
    if not found:
        raise Failed(ABSENT, path, f"read {path}", f"no enabled back-end of it is an array of profile {profile}")
    return found


def _listed(value: str) -> Iterable[str]:
    return [word.strip() for word in value.split(",") if word.strip()]

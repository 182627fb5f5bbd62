# SPDX-License-Identifier: Apache-2.0
"""The management addresses of an array that the cloud itself uses: Cinder's configuration, Eucalyptus' zone properties.

Sources: the drivers' documented options (Cinder configuration reference, "Volume drivers" of Kilo to 2025.1): san_ip (Pure,
Unity, VNX, EqualLogic; of 3PAR it is the address of SSH), netapp_server_hostname, hpe3par_api_url and its older name
hp3par_api_url, with the port of the service; only sections that enabled_backends names are used, and [DEFAULT] by releases
that had one back-end; [backend_defaults] holds for all. Eucalyptus: ZONE.storage.sanhost, "may be a list" (its Storage
Controller's properties; separated by commas), each with a port where it is not the usual one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from nephoscope.base import ABSENT, UNREACHABLE, UNREADABLE, Failed, Run, attempt
from nephoscope.probes import euca_settings, oslo_conf, san

# Profile -> the options of its drivers that tell the address, the one that is used first.
NAMES = {
    "netapp": ("netapp_server_hostname",),
    "netapp-snmp": ("netapp_server_hostname",),
    "3par": ("hpe3par_api_url", "hp3par_api_url", "san_ip"),
}
# What a back-end's volume_driver has in its name, by profile; any, where the profile is not here.
DRIVERS = {
    "netapp": ("netapp",),
    "netapp-snmp": ("netapp",),
    "equallogic": ("eqlx", "ps.", "equallogic"),
    "vnx": ("vnx", "emc_cli_"),
    "unity": ("unity",),
    "3par": ("3par",),
    "pure": ("pure",),
}


def survey(run: Run, options: Any) -> san.Survey:
    """Return what the array tells that check_san_health's options lead to. Raises Failed as `addresses` and `san.survey`."""
    hosts, hidden = addresses(run, options)
    where, named = san.place(options), options.mode_given
    found = san.survey(run, options.profile, hosts, where, options.mode, options.remember, named)
    return found._replace(array=found.array._replace(lost=[*found.array.lost, *hidden]))


def addresses(run: Run, options: Any) -> tuple[list[str], list[Failed]]:
    """Return -H, --address, those of --cinder-conf and those of --zone, each once, in this order: HOST or HOST:PORT.

    Then what hid a configuration that was to be read: the array at the other addresses is looked at all the same.
    Raises the first of these Failed where there is no other address: as `of_cinder` and `of_zone`.
    """
    found = [options.hostname] if options.hostname else []
    found += options.address
    hidden = []
    for told in (
        attempt(of_cinder, run, options.cinder_conf, options.profile) if options.cinder_conf else [],
        attempt(of_zone, run, options) if options.zone else [],
    ):
        if isinstance(told, Failed):
            hidden.append(told)
        else:
            found += told
    if hidden and not found:
        raise hidden[0]
    return list(dict.fromkeys(found)), hidden


def of_zone(run: Run, options: Any) -> list[str]:
    """Return the management addresses that a zone's Storage Controller uses.

    Of what the options say of certificates, --ca-file and --insecure hold for the cloud, too; whether it is asked by TLS says
    the address in its credentials.
    Raises Failed of the zone: as `euca_settings.of` and `euca_api.access`, but for a cloud that is silent, which says nothing
    of the array, unreadable; absent when sanhost is not set.
    """
    from nephoscope.base.http import trust
    from nephoscope.probes import euca_api

    name = f"{options.zone}.storage.sanhost"
    plain = {**dict.fromkeys(("hostname", "port", *trust(options))), "tls": False, "signature": "4"}
    try:
        access = euca_api.access(type(options)(**{**vars(options), **plain}), run)
        access = access._replace(trust={**access.trust, "ca_file": options.ca_file, "insecure": options.insecure})
        value = euca_settings.of(run, access, f"{options.zone}.storage.").get(name, "")
    except Failed as failed:
        kind = UNREADABLE if failed.kind == UNREACHABLE else failed.kind
        raise Failed(kind, f"zone {options.zone}", failed.tried, f"the cloud: {failed.error}", failed.cure) from None
    if not value:
        error = f"{name} is not set: is the zone's back-end an array?"
        raise Failed(ABSENT, f"zone {options.zone}", "DescribeProperties", error)
    return _listed(value)


def of_cinder(run: Run, path: str, profile: str) -> list[str]:
    """Return the management addresses of the enabled back-ends whose driver is of this profile's family.

    Raises Failed: as `oslo_conf.read`; absent when there is none.
    """
    conf = oslo_conf.read(run, path)
    found: set[str] = set()
    try:
        for section in _listed(conf.get("DEFAULT", "enabled_backends")) or ["DEFAULT"]:
            section = section if section == "DEFAULT" else section.lower()  # as oslo.config has it
            driver = _value(conf, section, "volume_driver").lower()
            if profile in DRIVERS and not any(word in driver for word in DRIVERS[profile]):
                continue
            values = (_value(conf, section, name) for name in NAMES.get(profile, ("san_ip",)))
            value = next(filter(None, values), "")
            found.update([urlsplit(value).netloc.rpartition("@")[2]] if "://" in value else _listed(value))
    except KeyError as error:
        raise Failed(UNREADABLE, path, f"read {path}", f"refers to ${error.args[0]}, which it does not set") from None
    except ValueError:
        raise Failed(UNREADABLE, path, f"read {path}", f"the address in [{section}] is none") from None
    if not found:
        raise Failed(ABSENT, path, f"read {path}", f"no enabled back-end of it is an array of profile {profile}")
    return sorted(found)


def _value(conf: oslo_conf.Conf, section: str, name: str) -> str:
    return conf.get(section, name) or conf.get("backend_defaults", name)


def _listed(value: str) -> list[str]:
    return value.replace(",", " ").split()

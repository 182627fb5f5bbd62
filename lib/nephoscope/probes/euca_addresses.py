# SPDX-License-Identifier: Apache-2.0
"""Who has the public addresses of a Eucalyptus cloud: one `DescribeAddresses verbose` for all of them.

Source: AddressManager.describeAddresses and Address.getAdminDescription, 3.4.2 to 4.4.2. In the verbose list the instance of an
address that somebody has reads `<instance> (<ARN of the owner>)`, with nothing or `available` for the instance while it has
none; that of a free one reads `nobody`. Users outside the account `eucalyptus` get no error, but an empty list: for them the
word is an address that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api
from nephoscope.probes.cloud import Pool, Pools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

POOL = "public"
TRIED = "DescribeAddresses verbose"
OWNED = re.compile(r"(?P<instance>[^()]*)\((?P<owner>.*)\)", re.DOTALL)
NUMBER = re.compile(r"::(\d+):")


class Address(NamedTuple):
    """A public address.

    owner     number of the account that has it, its ARN where that has no number, "" for a free one
    instance  to which it is given, or the network interface (a NAT gateway's, in a VPC), "" for none
    user      name of the user of that account who has it, "" where it is not told
    """

    ip: str
    owner: str
    instance: str
    user: str = ""


def pools(options: Any, run: Run) -> Pools:
    """Return the one pool. `options.range`: where its addresses should lie. Raises Failed."""
    there = euca_api.access(options, run)
    return Pools((pool(addresses(run, there), options.range),))


def addresses(run: Run, there: euca_api.Access) -> tuple[Address, ...]:
    """Ask for all addresses of the cloud. Raises Failed, not-allowed for a list that is not of all accounts."""
    run.stage(f"ask for {TRIED}")
    return parsed(euca_api.ask(run, there, "compute", "DescribeAddresses", {"PublicIp.1": "verbose"}))


def parsed(answer: Element) -> tuple[Address, ...]:
    """Return the addresses of an answer, each once. Raises Failed."""
    found = {}
    for item in answer.findall("addressesSet/item"):
        ip, text = ((item.findtext(name) or "").strip() for name in ("publicIp", "instanceId"))
        if text == "nobody":
            found[ip] = Address(ip, "", "")
            continue
        owned = OWNED.fullmatch(text)
        if not owned:
            error = "the list is not of all accounts: its addresses name no owner"
            raise Failed(NOT_ALLOWED, "", TRIED, error)
        instance, owner = owned["instance"].strip(), owned["owner"].strip()
        number = NUMBER.search(owner)
        if instance in ("", "available", "null"):  # in a VPC an interface can have it that is no instance's
            instance = (item.findtext("networkInterfaceId") or "").strip()
        user = owner.rpartition(":")[2]
        name = user.rpartition("/")[2] if user.startswith("user/") else ""
        found[ip] = Address(ip, number.group(1) if number else owner, instance, name)
    if "" in found:
        raise Failed(UNREADABLE, "", TRIED, "an address without an address")
    if not found:
        error = "the list of addresses is empty: no right to see it, or the cloud has no public addresses"
        raise Failed(NOT_ALLOWED, "", TRIED, error)
    return tuple(found[ip] for ip in sorted(found))


def pool(found: Iterable[Address], ranges: Iterable[tuple[Any, Any]]) -> Pool:
    """Return the pool of these addresses. ranges  (first, last) each, of ipaddress; none: nothing is strange."""
    from ipaddress import ip_address

    found, ranges = tuple(found), tuple(ranges)
    strange = []
    for address in found if ranges else ():
        try:
            ip = ip_address(address.ip)
            inside = any(first.version == ip.version and first <= ip <= last for first, last in ranges)
        except ValueError:
            inside = False
        if not inside:
            strange.append(address.ip)
    used = [address for address in found if address.owner]
    idle = sum(not address.instance for address in used)
    return Pool(POOL, len(used), len(found), idle, tuple(strange))

# SPDX-License-Identifier: Apache-2.0
"""What the list of addresses of Eucalyptus is read as. The first two addresses are those of its documentation."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed
from nephoscope.probes import euca_addresses
from nephoscope.probes.cloud import Pool, span
from nephoscope.probes.euca_addresses import TRIED, Address

ADMIN = "arn:aws:euare::362121614306:user/admin"


def answer(*rows):
    items = "".join(
        f"<item><publicIp>{ip}</publicIp><domain>standard</domain><instanceId>{text}</instanceId></item>"
        for ip, text in rows
    )
    return ElementTree.fromstring(f"<R><addressesSet>{items}</addressesSet></R>")


def test_free_given_and_idle_ones():
    rows = (
        ("10.111.101.84", f"i-162a8f09 ({ADMIN})"),
        ("10.111.101.85", "nobody"),
        ("10.111.101.86", f" ({ADMIN})"),
        ("10.111.101.87", f"available ({ADMIN})"),  # 3.4
        ("10.111.101.88", "i-00000001 (arn:aws:euare:::user/eucalyptus)"),
        ("10.111.101.85", "nobody"),
    )
    found = euca_addresses.parsed(answer(*rows))
    assert found == (
        Address("10.111.101.84", "362121614306", "i-162a8f09", "admin"),
        Address("10.111.101.85", "", ""),
        Address("10.111.101.86", "362121614306", "", "admin"),
        Address("10.111.101.87", "362121614306", "", "admin"),
        Address("10.111.101.88", "arn:aws:euare:::user/eucalyptus", "i-00000001", "eucalyptus"),
    )
    assert euca_addresses.pool(found, ()) == Pool("public", 4, 5, 2)


def test_an_address_of_a_network_interface_that_no_instance_has_is_not_idle():
    """A NAT gateway's, in a VPC (4.2+): AddressIToAddressInfoTypeTransform tells an instance only where there is one."""
    row = ElementTree.fromstring(
        f"<R><addressesSet><item><publicIp>10.0.0.1</publicIp><domain>vpc</domain><instanceId> ({ADMIN})</instanceId>"
        "<associationId>eipassoc-1</associationId><networkInterfaceId>eni-1</networkInterfaceId></item></addressesSet></R>"
    )
    found = euca_addresses.parsed(row)
    assert found == (Address("10.0.0.1", "362121614306", "eni-1", "admin"),)
    assert euca_addresses.pool(found, ()) == Pool("public", 1, 1, 0)


def test_an_instance_that_is_named_nobody_is_no_free_address():
    """check_euca_addresses.sh of the upstream Nagios scripts counts every line that has `nobody` in it as free."""
    found = euca_addresses.parsed(answer(("10.0.0.1", "i-00000001 (arn:aws:euare::000000000009:user/nobody)")))
    assert euca_addresses.pool(found, ()) == Pool("public", 1, 1, 0)


@pytest.mark.parametrize(
    "rows, kind, said",
    [
        ([], NOT_ALLOWED, "the list of addresses is empty: no right to see it, or the cloud has no public addresses"),
        (
            [("10.0.0.1", "i-00000001"), ("10.0.0.2", "")],
            NOT_ALLOWED,
            "the list is not of all accounts: its addresses name no owner",
        ),
    ],
)
def test_a_list_that_is_not_of_everything_is_a_missing_right_and_no_small_pool(rows, kind, said):
    """The upstream script divides by the number of lines: 0 of its own addresses used, OK."""
    with pytest.raises(Failed) as caught:
        euca_addresses.parsed(answer(*rows))
    assert caught.value == Failed(kind, "", TRIED, said)


def test_an_address_without_an_address():
    with pytest.raises(Failed) as caught:
        euca_addresses.parsed(answer(("", "nobody")))
    assert caught.value == Failed(UNREADABLE, "", TRIED, "an address without an address")


def test_addresses_outside_of_every_range():
    found = [Address(ip, "", "") for ip in ("192.0.2.9", "192.0.2.10", "198.51.100.1", "2001:db8::1", "junk")]
    ranges = [span("192.0.2.10-192.0.2.20"), span("198.51.100.0/24")]
    assert euca_addresses.pool(found, ranges).strange == ("192.0.2.9", "2001:db8::1", "junk")


@pytest.mark.parametrize("text", ["", "x", "192.0.2.2-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.0/33", "1-2-3"])
def test_what_is_no_range(text):
    with pytest.raises(ValueError, match="is no range of addresses like"):
        span(text)

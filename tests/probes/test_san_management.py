# SPDX-License-Identifier: Apache-2.0
"""cinder.conf in the form of the Cinder configuration reference; a Eucalyptus zone as the demo's cloud tells it."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes.san_management import of_cinder

CONF = """
[DEFAULT]
enabled_backends = netapp1, pure1,hpe, unity, lvm, eq
mgmt = 192.0.2.40
[netapp1]
volume_driver = cinder.volume.drivers.netapp.common.NetAppDriver
netapp_server_hostname = cluster.example
[pure1]
volume_driver = cinder.volume.drivers.pure.PureISCSIDriver
san_ip = 192.0.2.10
[hpe]
volume_driver = cinder.volume.drivers.hpe.hpe_3par_iscsi.HPE3PARISCSIDriver
hpe3par_api_url = https://192.0.2.20:8080/api/v1
san_ip = 192.0.2.21
[unity]
volume_driver = cinder.volume.drivers.dell_emc.unity.Driver
san_ip = $mgmt
[eq]
volume_driver = cinder.volume.drivers.dell_emc.ps.PSSeriesISCSIDriver
san_ip = 192.0.2.50
[lvm]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
[old]
volume_driver = cinder.volume.drivers.pure.PureFCDriver
san_ip = 192.0.2.11
"""


@pytest.fixture
def addresses(tmp_path):
    def of(profile, conf=CONF):
        (tmp_path / "cinder.conf").write_text(conf)
        return of_cinder(Run(root=str(tmp_path)), "/cinder.conf", profile)

    return of


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ("netapp", ["cluster.example"]),
        ("netapp-snmp", ["cluster.example"]),
        ("pure", ["192.0.2.10"]),
        ("3par", ["192.0.2.20", "192.0.2.21"]),
        ("unity", ["192.0.2.40"]),
        ("equallogic", ["192.0.2.50"]),
        ("generic-snmp", ["192.0.2.10", "192.0.2.21", "192.0.2.40", "192.0.2.50"]),
    ],
)
def test_addresses_of_the_back_ends_in_use(addresses, profile, found):
    assert addresses(profile) == found


def test_no_back_end_of_this_family_and_one_that_can_not_be_read(addresses):
    with pytest.raises(Failed) as caught:
        addresses("vnx")
    error = "no enabled back-end of it is an array of profile vnx"
    assert caught.value == Failed(ABSENT, "/cinder.conf", "read /cinder.conf", error)
    with pytest.raises(Failed) as caught:
        addresses("unity", CONF.replace("mgmt =", "other ="))
    assert (caught.value.kind, caught.value.error) == (UNREADABLE, "refers to $mgmt, which it does not set")

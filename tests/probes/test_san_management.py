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
        ("3par", ["192.0.2.20:8080"]),  # with the port that the cloud uses, and not the address of SSH
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


@pytest.mark.parametrize(
    ("profile", "conf", "found"),
    [
        # oslo.config has the names of sections in lower case, whatever is written.
        ("pure", "[DEFAULT]\nenabled_backends = Pure-1\n[PURE-1]\nvolume_driver = x.pure.X\nsan_ip = 192.0.2.10\n", ["192.0.2.10"]),
        # Before there were several back-ends the one stood in [DEFAULT]; the driver's name is that of Kilo.
        ("vnx", "[DEFAULT]\nvolume_driver = cinder.volume.drivers.emc.emc_cli_iscsi.EMCCLIISCSIDriver\nsan_ip = 192.0.2.9", ["192.0.2.9"]),
        ("unity", "[DEFAULT]\nenabled_backends=u\n[backend_defaults]\nsan_ip=192.0.2.8\n[u]\nvolume_driver=x.unity.Driver", ["192.0.2.8"]),
        ("3par", "[DEFAULT]\nenabled_backends=h\n[h]\nvolume_driver=x.hp_3par\nhp3par_api_url=https://u:p@[2001:db8::1]:443/api/v1", ["[2001:db8::1]:443"]),
        ("3par", "[DEFAULT]\nenabled_backends=h\n[h]\nvolume_driver=x.hp_3par\nsan_ip=192.0.2.7", ["192.0.2.7"]),
        ("netapp", "[DEFAULT]\nenabled_backends=n\n[n]\nvolume_driver=x.netapp\nsan_ip=192.0.2.1\nnetapp_server_hostname=a.example", ["a.example"]),
    ],
)  # fmt: skip
def test_other_ways_to_write_it(addresses, profile, conf, found):
    assert addresses(profile, conf) == found


def test_an_address_that_is_none(addresses):
    with pytest.raises(Failed) as caught:
        addresses("3par", "[DEFAULT]\nenabled_backends=h\n[h]\nvolume_driver=3par\nhpe3par_api_url=https://[2001/api")
    assert caught.value == Failed(UNREADABLE, "/cinder.conf", "read /cinder.conf", "the address in [h] is none")

# SPDX-License-Identifier: Apache-2.0
"""DescribeServices, properties and the old configuration service: forms by version, filters, events, who may."""

from __future__ import annotations

import re

import pytest
from nephoscope.demo import Demo, sample

from tests.demo.client import ask, fetch, rows, states

NAMESPACES = {
    "3.4.3": "http://msgs.eucalyptus.com/3.4.3",
    "4.1.2": "http://msgs.eucalyptus.com/4.1.2",
    "4.4.2": "http://msgs.eucalyptus.com/4.4.2",
    "5.1.0": "http://www.eucalyptus.com/ns/bootstrap/2017-05-04/",
}


@pytest.fixture(scope="module")
def shared():
    with Demo(sample(zones=2, split=True)) as cloud:
        yield cloud


@pytest.fixture
def demo(shared):
    before = {service: (service.state, service.message) for service in shared.cloud.services}
    properties = dict(shared.cloud.properties)
    yield shared
    for service, (state, message) in before.items():
        service.state, service.message = state, message
    shared.cloud.properties.clear()
    shared.cloud.properties.update(properties)
    shared.cloud.touch()


# ---- the document


@pytest.mark.parametrize("version", sorted(NAMESPACES))
def test_the_root_has_its_version_s_namespace_and_prefix(version):
    with Demo(sample(version=version)) as demo:
        got = ask(demo, "DescribeServices")
    prefix, attribute = ("", "xmlns") if version.startswith("5") else ("euca:", "xmlns:euca")
    assert got.headers["content-type"] == "application/xml; charset=UTF-8"
    start = f'<{prefix}DescribeServicesResponseType {attribute}="{NAMESPACES[version]}"><{prefix}EmpyreanMessage><{prefix}correlationId>'
    assert got.text.startswith(start)
    assert got.text.endswith(f"</{prefix}serviceStatuses></{prefix}DescribeServicesResponseType>")
    assert (f"<{prefix}_disabledServices/>" in got.text) is not version.startswith("5")
    assert (f"<{prefix}host>" in got.text) is (version >= "4.2")
    assert (f"<{prefix}serviceAccounts/>" in got.text) is (version >= "4.2")


def test_one_service_as_it_is_written(demo):
    text = ask(demo, "DescribeServices", **{"ServiceName.1": "one-cc-1"}).text
    items = {
        item.partition("<euca:name>")[2].partition("<")[0]: item
        for item in text.split("<euca:item><euca:serviceId>")[1:]
    }
    at = demo.address("one-cc")
    uri = f"http://{at}:8774/axis2/services/EucalyptusCC"
    assert (
        items["one-cc-1"]
        .partition("<euca:item><euca:serviceId>")[0]
        .startswith(
            "<euca:partition>one</euca:partition><euca:name>one-cc-1</euca:name><euca:type>cluster</euca:type>"
            "<euca:fullName>arn:euca:eucalyptus:one:cluster:one-cc-1/</euca:fullName>"
            f"<euca:uris><euca:item><euca:entry>{uri}</euca:entry></euca:item></euca:uris><euca:uri>{uri}</euca:uri>"
            f"<euca:host>{at}</euca:host></euca:serviceId><euca:localState>ENABLED</euca:localState>"
            "<euca:localEpoch>31</euca:localEpoch><euca:details/><euca:statusDetails/><euca:serviceAccounts/></euca:item>"
        )
    )


def test_full_names_as_the_documentation_has_them(demo):
    found = {row["fullName"] for row in rows(ask(demo, "DescribeServices", ListAll="true"))}
    clc, node = demo.address("clc"), demo.address("one-nc-1")
    assert {
        f"arn:euca:eucalyptus:::{clc}/",
        f"arn:euca:bootstrap:::{clc}/",
        "arn:euca:eucalyptus:one:storage:one-sc-1/",
        f"arn:euca:bootstrap:one:node:{node}/",
        "arn:euca:bootstrap:API_ufs:loadbalancing:API_ufs.loadbalancing/",
    } <= found


def test_it_is_sorted_by_partition_host_and_name(demo):
    found = [
        (row["partition"], row["host"], row["name"]) for row in rows(ask(demo, "DescribeServices", ListAll="true"))
    ]
    assert found == sorted(found)
    assert len({partition for partition, _, _ in found}) > 4


def test_an_answer_is_fresh_although_it_is_kept_ready(demo):
    first, second = ask(demo, "DescribeServices").text, ask(demo, "DescribeServices").text
    ids = [re.findall("correlationId>([^<]+)<", text) for text in (first, second)]
    assert ids[0] != ids[1]
    demo.tell("state", "two-sc-1", "STOPPED")
    assert states(demo)["two-sc-1"] == "STOPPED"


# ---- what is listed


def kinds(demo: Demo, host: str = "clc", **params: str) -> set[str]:
    return {row["type"] for row in rows(ask(demo, "DescribeServices", host=host, **params))}


def test_without_list_all_what_is_internal_is_left_out(demo):
    plain = kinds(demo)
    assert {"eucalyptus", "cluster", "storage", "node", "walrusbackend", "user-api", "compute", "bootstrap"} <= plain
    assert not {"db", "properties", "imagingbackend", "cloudwatchbackend"} & plain
    assert {"db", "properties", "imagingbackend", "cloudwatchbackend"} <= kinds(demo, ListAll="true")
    assert {"db", "imagingbackend"} <= kinds(demo, ListInternal="true")
    assert "db" not in kinds(demo, host="ufs", ListInternal="true")  # not on the host that answers
    assert "properties" in kinds(demo, host="ufs", ListUserServices="true")
    assert states(demo, ListAll="true")[demo.address("clc")] in ("ENABLED", "NOTREADY")


def test_workers_without_an_image_are_not_ready_on_a_healthy_cloud(demo):
    found = {row["type"]: row["localState"] for row in rows(ask(demo, "DescribeServices", ListAll="true"))}
    assert {kind for kind, state in found.items() if state != "ENABLED"} == {"imagingbackend"}


def test_bootstrap_is_no_filter(demo):
    assert states(demo, ByServiceType="bootstrap", ListAll="true") == states(demo, ListAll="true")
    assert kinds(demo, ByServiceType="storage") == {"storage"}
    assert kinds(demo, ByServiceType="STORAGE") == {"storage"}


def test_filters_add_up(demo):
    demo.tell("state", "one-sc-1", "NOTREADY")
    assert set(states(demo, ByServiceType="storage", ByPartition="one")) == {"one-sc-1"}
    assert set(states(demo, ByState="notready")) == {"one-sc-1"}
    assert kinds(demo, ByHost=demo.address("walrus")) == {"walrusbackend", "bootstrap"}
    assert states(demo, ByHost="192.0.2.1") == {}
    assert states(demo, ByPartition="nine") == {}
    assert "<euca:serviceStatuses/>" in ask(demo, "DescribeServices", ByPartition="nine").text
    assert set(states(demo, **{"ServiceName.1": "two-sc-1", "ServiceName.2": "one-cc-1"})) == {"two-sc-1", "one-cc-1"}
    assert set(states(demo, **{"ServiceName.1": "arn:euca:eucalyptus:two:storage:two-sc-1/"})) == {"two-sc-1"}


def test_filters_by_name(demo):
    both = {"Filter.1.Name": "service-type", "Filter.1.Value.1": "storage", "Filter.1.Value.2": "cluster"}
    assert set(states(demo, **both)) == {"one-sc-1", "one-cc-1", "two-sc-1", "two-cc-1"}
    assert set(states(demo, **both, **{"Filter.2.Name": "partition", "Filter.2.Value.1": "two"})) == {
        "two-sc-1",
        "two-cc-1",
    }
    members = {"Filter.1.Name": "service-group", "Filter.1.Value.1": "user-api"}
    assert "API_ufs.compute" in states(demo, **members)
    assert states(demo, **{"Filter.1.Name": "shape", "Filter.1.Value.1": "round"}) == {}


@pytest.mark.parametrize(
    ("param", "value", "said"),
    [
        ("ByServiceType", "walrus", "No ComponentId with name: walrus"),
        ("ByState", "fine", "No enum constant com.eucalyptus.component.Component.State.FINE"),
    ],
)
def test_an_unknown_type_or_state_is_an_error(demo, param, value, said):
    got = ask(demo, "DescribeServices", **{param: value})
    assert (got.status, got.message) == (400, said)
    assert got.headers["content-type"] == "application/xml; charset=UTF-8"
    assert "<Code>DescribeServicesType</Code>" in got.text


def test_without_a_version_nobody_feels_meant(demo):
    got = ask(demo, "DescribeServices", version="")
    assert (got.status, got.message) == (404, "unknown")


def test_an_unknown_action(demo):
    assert ask(demo, "DescribeNothing").status == 400


# ---- events


def test_events_only_when_they_are_asked_for(demo):
    demo.tell(
        "state", "one-sc-1", "BROKEN", "SC blockstoragemanager not configured. Found empty or unset manager(unset)."
    )
    plain = next(row for row in rows(ask(demo, "DescribeServices")) if row["name"] == "one-sc-1")
    assert "message" not in plain
    row = next(row for row in rows(ask(demo, "DescribeServices", ShowEvents="true")) if row["name"] == "one-sc-1")
    assert (row["severity"], row["stackTrace"]) == ("ERROR", "")
    assert row["message"] == "SC blockstoragemanager not configured. Found empty or unset manager(unset)."
    assert re.fullmatch(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d UTC \d{4}", row["timestamp"])
    row = next(row for row in rows(ask(demo, "DescribeServices", ShowEventStacks="true")) if row["name"] == "one-sc-1")
    assert row["stackTrace"].startswith("java.lang.Exception: SC blockstoragemanager")


def test_what_a_cluster_controller_says_of_its_nodes(demo):
    address = demo.address("one-nc-1")

    def said() -> tuple[str, str, str]:
        found = rows(ask(demo, "DescribeServices", ByServiceType="node", ListAll="true", ShowEvents="true"))
        row = next(row for row in found if row["name"] == address)
        return row["localState"], row["severity"], row["message"]

    healthy = f"the node is operating normally\nFound service status for {address}: ENABLED"
    assert said() == ("ENABLED", "INFO", healthy)
    demo.tell("state", "one-nc-1", "STOPPED")
    assert said() == ("STOPPED", "ERROR", "the node is not accepting new instances")
    demo.tell("state", address, "NOTREADY")
    assert said() == ("NOTREADY", "ERROR", "the node is currently experiencing problems and needs attention")
    demo.tell("state", "one-nc-1", "NOTREADY", "the", "node is currently in the sleep state")
    assert said() == ("NOTREADY", "ERROR", "the node is currently in the sleep state")


@pytest.mark.parametrize("word", ["n/a: java.lang.NullPointerException", "BUGGY", "MISSING", 'a|b "<&>ü'])
def test_any_word_may_stand_for_a_state(demo, word):
    demo.tell("state", "one-sc-1", word)
    assert states(demo)["one-sc-1"] == word


# ---- who may


def test_who_may_ask_for_services(demo):
    assert ask(demo, "DescribeServices", user="monitor").status == 200
    got = ask(demo, "DescribeServices", user="nobody")
    assert (got.status, got.message) == (403, "Forbidden")
    assert got.headers["content-type"] == "text/plain; charset=UTF-8"


def test_another_account_sees_public_services_and_no_events(demo):
    demo.tell("state", "API_ufs.euare", "NOTREADY", "it is tired")
    got = ask(demo, "DescribeServices", user="owner", ListAll="true", ShowEvents="true")
    found = {row["name"]: row for row in rows(got)}
    assert found["API_ufs.euare"]["localState"] == "NOTREADY"
    assert "message" not in found["API_ufs.euare"]
    assert not {"cluster", "storage", "node", "eucalyptus", "bootstrap", "user-api"} & {
        row["type"] for row in found.values()
    }
    assert rows(ask(demo, "DescribeServices", user="owner", ByServiceType="bootstrap")) == []


@pytest.mark.parametrize("action", ["ModifyService", "StopService", "DeregisterService", "DestroyService"])
@pytest.mark.parametrize("user", ["admin", "monitor"])
def test_nothing_is_ever_changed(demo, action, user):
    got = ask(demo, action, user=user, Name="one-sc-1", State="STOP")
    assert (got.status, got.message) == (403, "Forbidden")
    assert states(demo)["one-sc-1"] == "ENABLED"


# ---- properties


@pytest.mark.parametrize("version", ["4.1.2", "4.4.2", "5.1.0"])
def test_properties_by_version(version):
    with Demo(sample(version=version)) as demo:
        got = ask(demo, "DescribeProperties", "Properties")
        found = {row["name"]: row for row in rows(got, "properties")}
    start = {
        "4.1.2": '<euca:DescribePropertiesResponseType xmlns:euca="http://msgs.eucalyptus.com/4.1.2"><euca:PropertiesMessage>',
        "4.4.2": '<euca:DescribePropertiesResponseType xmlns:euca="http://msgs.eucalyptus.com/4.4.2"><euca:PropertiesMessage>',
        "5.1.0": '<DescribePropertiesResponseType xmlns="http://www.eucalyptus.com/ns/properties/2017-05-04/"><PropertiesMessage>',
    }
    assert got.text.startswith(start[version] + ("<" if version == "5.1.0" else "<euca:") + "correlationId>")
    row = found["one.storage.maxtotalvolumesizeingb"]
    assert row["value"] == "100"
    assert (row.get("defaultValue"), row.get("readOnly")) == ((None, None) if version == "4.1.2" else ("100", "false"))
    assert found["bootstrap.webservices.ssl.server_password"]["value"] == "********"
    assert ("cloudwatch.enable_cloudwatch_service" in found) is (version != "4.1.2")
    assert ("cloudwatch.disable_cloudwatch_service" in found) is (version == "4.1.2")


def test_properties_by_the_beginning_of_their_names(demo):
    found = rows(
        ask(demo, "DescribeProperties", "Properties", **{"Property.1": "two.storage.", "Property.2": "dns.enabled"}),
        "properties",
    )
    names = [row["name"] for row in found]
    assert "dns.enabled" in names
    assert len(names) > 3
    assert all(name.startswith("two.storage.") or name == "dns.enabled" for name in names)


def test_a_property_is_told(demo):
    demo.tell("property", "one.storage.maxtotalvolumesizeingb", "5")
    demo.tell("property", "one.storage.blockstoragemanager")
    found = {
        row["name"]: row for row in rows(ask(demo, "DescribeProperties", "Properties", user="monitor"), "properties")
    }
    assert (
        found["one.storage.maxtotalvolumesizeingb"]["value"],
        found["one.storage.maxtotalvolumesizeingb"]["defaultValue"],
    ) == ("5", "100")
    assert found["one.storage.blockstoragemanager"]["value"] == ""


@pytest.mark.parametrize("user", ["nobody", "owner"])
def test_properties_are_the_system_account_s(demo, user):
    assert ask(demo, "DescribeProperties", "Properties", user=user).status == 403


@pytest.mark.parametrize("name", ["euca", "one.storage.maxtotalvolumesizeingb"])
def test_a_property_is_not_changed_by_a_request(demo, name):
    before = dict(demo.cloud.properties)
    got = ask(demo, "ModifyPropertyValue", "Properties", Name=name, Value="1")
    assert (got.status, got.message) == (403, "Forbidden")
    assert demo.cloud.properties == before


# ---- the old configuration service


def test_the_old_configuration_service():
    with Demo(sample(version="3.4.3")) as demo:
        (row,) = rows(ask(demo, "DescribeClusters", "Configuration"), "registered")
        assert row == {
            "type": "cluster", "partition": "one", "name": "one-cc-1", "hostName": demo.address("one-cc"),
            "fullName": "arn:euca:eucalyptus:one:cluster:one-cc-1/", "state": "ENABLED", "detail": "",
        }  # fmt: skip
        found = rows(ask(demo, "DescribeNodes", "Configuration"), "registered")
        assert [row["hostName"] for row in found] == [demo.address("one-nc-1"), demo.address("one-nc-2")]
        assert {row["type"] for row in rows(ask(demo, "DescribeWalruses", "Configuration"), "registered")} == {"walrus"}
        assert rows(ask(demo, "DescribeArbitrators", "Configuration"), "registered") == []
        assert ask(demo, "DescribeClusters", "Configuration", user="monitor").status == 403  # has no euconfig right
        assert ask(demo, "RegisterCluster", "Configuration").status == 400
    with Demo(sample(version="4.4.2")) as demo:
        assert ask(demo, "DescribeClusters", "Configuration").status == 404


# ---- not enabled here


def test_who_is_not_enabled_here_is_elsewhere_or_nowhere(demo):
    body = {"version": "2014-09-01", "host": "clc"}
    got = ask(demo, "DescribeVolumes", "compute", **body)
    assert (got.status, got.text) == (307, "")
    assert got.headers["location"] == f"http://{demo.address('ufs')}:8773/services/compute"
    assert got.headers["connection"] == "close"
    assert ask(demo, "DescribeVolumes", "compute", version="2014-09-01", host="ufs").status == 200
    demo.tell("state", "API_ufs.compute", "NOTREADY")
    got = ask(demo, "DescribeVolumes", "compute", version="2014-09-01", host="ufs")
    assert (got.status, got.text, got.headers["connection"]) == (503, "", "close")


def test_the_query_goes_along_with_a_redirect(demo):
    got = fetch(demo, "clc", "/services/objectstorage/bucket?prefix=a%20b")
    assert got.status == 307
    assert got.headers["location"] == f"http://{demo.address('ufs')}:8773/services/objectstorage/bucket?prefix=a%20b"


# ---- what the client gets


def test_credentials_are_for_the_owner_alone_and_name_each_service(demo, tmp_path):
    path = demo.credentials(tmp_path / "euca.ini", user="monitor")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines()
    assert "[user monitor]" in lines
    assert f"secret-key = {demo.user('monitor').secret}" in lines
    assert f"bootstrap-url = http://{demo.address('clc')}:8773/services/Empyrean/" in lines
    assert f"ec2-url = http://{demo.address('ufs')}:8773/services/compute/" in lines
    assert "default-region = demo" in lines


def test_nothing_shows_a_secret(demo):
    user = demo.user("admin")
    assert user.secret not in repr(user)
    assert user.secret not in repr(demo.cloud.users)

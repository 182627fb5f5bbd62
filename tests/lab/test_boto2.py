# SPDX-License-Identifier: Apache-2.0
"""The client of Eucalyptus' own time against the simulated cloud: boto 2, with which eucadmin, eutester and euca2ools 2 ask.

It signs in ways that no client of today does (SigV2, S3's `AWS key:signature`) and parses `verbose` answers as the
administrators' tools do. boto 2.49 runs up to Python 3.11. euca2ools itself is not on PyPI, and requestbuilder, on which
its version 3 is built, signs under Python 2 alone. Each script runs in the lab's own environment and prints one JSON document.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from nephoscope.demo import Demo, sample

from tests.lab.support import lab_venv, missing

pytestmark = pytest.mark.lab

PRELUDE = """
import json, sys
given = json.loads(sys.stdin.read())
access, secret, host = given["access"], given["secret"], given["host"]
def say(found): print(json.dumps(found))
"""
BOTO = (
    PRELUDE
    + """
import boto, boto.ec2.regioninfo, boto.ec2.connection, boto.iam, boto.s3.connection, boto.utils
class Old(boto.ec2.connection.EC2Connection):
    def _required_auth_capability(self): return ["ec2"]   # SigV2, as before 2.40
def ec2(path="/services/compute", old=False):
    region = boto.ec2.regioninfo.RegionInfo(name="eucalyptus", endpoint=host)
    make = Old if old else boto.ec2.connection.EC2Connection
    return make(access, secret, is_secure=False, region=region, port=8773, path=path)
def s3():
    form = boto.s3.connection.OrdinaryCallingFormat()
    return boto.connect_s3(access, secret, is_secure=False, host=host, port=8773, path="/services/objectstorage",
                           calling_format=form)
def iam():
    return boto.connect_iam(access, secret, is_secure=False, host=host, port=8773, path="/services/Euare")
for name, value in (("num_retries", "0"), ("http_socket_timeout", "10")):
    boto.config.has_section("Boto") or boto.config.add_section("Boto")
    boto.config.set("Boto", name, value)
"""
)


@pytest.fixture(scope="module")
def python() -> str:
    home = lab_venv("boto2")
    tried = subprocess.run(
        [home / "bin/python", "-c", "import boto.ec2, boto.vendored.six.moves.urllib.parse"], capture_output=True
    )
    if tried.returncode:
        version = ".".join(map(str, sys.version_info[:2]))
        missing(f"boto 2 does not run under Python {version}: it needs 3.11 or older")
    return str(home / "bin/python")


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with Demo(sample(version="4.1.2", zones=2, nodes=2)) as found:
        yield found


def run(python: str, demo: Demo, script: str, user: str = "admin", secret: str = "") -> Any:
    who = demo.user(user)
    given = {"access": who.access, "secret": secret or who.secret, "host": demo.address("clc")}
    done = subprocess.run(
        [python, "-c", script], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_verbose_zones_as_the_administrators_tools_show_them(python: str, demo: Demo) -> None:
    script = BOTO + "say([[zone.name, zone.state] for zone in ec2().get_all_zones(['verbose'])])"
    rows = run(python, demo, script)
    assert rows[0] == ["one", f"{demo.address('one-cc')} arn:euca:eucalyptus:one:cluster:one-cc-1/"]
    assert rows[1] == ["|- vm types", "free / max   cpu   ram  disk"]
    assert rows[3] == ["|- m1.small", "0058 / 0064   1    256     5"]
    assert [name for name, _ in rows if not name.startswith("|-")] == ["one", "two"]


@pytest.mark.parametrize(
    ("path", "old", "signed"),
    [("/services/compute", False, "HmacAuthV4Handler"), ("/services/Eucalyptus", True, "QuerySignatureV2AuthHandler")],
)
def test_all_resources_of_all_accounts(python: str, demo: Demo, path: str, old: bool, signed: str) -> None:
    script = BOTO + f"""
ec2 = ec2({path!r}, {old})
say({{"instances": [[each.id, each.state, each.placement, each.tags.get("euca:node")] for each in
                   ec2.get_only_instances(["verbose"])],
     "volumes": [[each.id, each.size, each.status, each.attachment_state()] for each in ec2.get_all_volumes(["verbose"])],
     "snapshots": [[each.id, each.status, each.progress] for each in ec2.get_all_snapshots()],
     "addresses": [[each.public_ip, each.instance_id] for each in ec2.get_all_addresses(["verbose"])],
     "images": [each.name for each in ec2.get_all_images(["verbose"])],
     "groups": [each.name for each in ec2.get_all_security_groups(["verbose"])],
     "status": [each.system_status.status for each in ec2.get_all_instance_status(["verbose"])],
     "signed": type(ec2._auth_handler).__name__}})
"""  # fmt: skip
    found = run(python, demo, script)
    assert found["signed"] == signed
    assert len(found["instances"]) == 12
    assert found["instances"][0][1:] == ["running", "one", demo.address("one-nc-1")]
    assert [row[1:] for row in found["volumes"]][:3] == [
        [10, "in-use", "attached"],
        [20, "in-use", "attached"],
        [30, "available", None],
    ]
    assert [row[1:] for row in found["snapshots"]] == [["completed", "100%"]] * 4
    assert [row[1] for row in found["addresses"]][5:] == ["nobody"] * 3
    assert found["images"] == ["precise-server", "imaging-worker"]
    assert found["groups"] == ["default"]
    assert found["status"] == ["ok"] * 10


def test_instance_types_of_eucalyptus(python: str, demo: Demo) -> None:
    script = BOTO + """
class Type(object):
    def __init__(self, parent=None): self.fields, self.rows = {}, []
    def startElement(self, name, attrs, connection):
        if name == "availability":
            from boto.resultset import ResultSet
            self.rows = ResultSet([("item", Type)])
            return self.rows
    def endElement(self, name, value, connection): self.fields[name] = value
found = ec2().get_list("DescribeInstanceTypes", {"Availability": "true", "InstanceType.1": "m1.small"}, [("item", Type)], verb="POST")
say([[each.fields, [row.fields for row in each.rows]] for each in found])
"""  # fmt: skip
    ((fields, rows),) = run(python, demo, script)
    assert (fields["name"], fields["cpu"], fields["memory"]) == ("m1.small", "1", "256")
    assert [(row["zoneName"], row["max"], row["available"]) for row in rows] == [
        ("one", "64", "58"),
        ("two", "64", "58"),
    ]


def test_a_wrong_key_is_an_error_that_boto_understands(python: str, demo: Demo) -> None:
    script = (
        BOTO
        + """
try:
    ec2().get_all_volumes()
except boto.exception.EC2ResponseError as error:
    say([error.status, error.error_code, error.error_message])
"""
    )
    assert run(python, demo, script, secret="wrong") == [403, "403 Forbidden", "Signature validation failed"]


def test_objects_make_the_round_trip_path_style_signed_with_the_key_and_a_sum(python: str, demo: Demo) -> None:
    script = (
        BOTO
        + """
s3 = s3()
bucket = s3.create_bucket("boto2")
key = bucket.new_key("a folder/object+1")
key.set_contents_from_string("content", headers={"Content-Type": "text/x-probe"})
got = bucket.get_key("a folder/object+1")
found = [got.get_contents_as_string().decode(), got.content_type, [each.name for each in bucket.list()]]
key.delete()
s3.delete_bucket("boto2")
say([*found, sorted(each.name for each in s3.get_all_buckets())])
"""
    )
    assert run(python, demo, script) == ["content", "text/x-probe", ["a folder/object+1"], ["images"]]


def test_s3_refuses_a_wrong_key_in_its_own_words(python: str, demo: Demo) -> None:
    script = (
        BOTO
        + """
try:
    s3().get_all_buckets()
except boto.exception.S3ResponseError as error:
    say([error.status, error.error_code])
"""
    )
    assert run(python, demo, script, secret="wrong") == [403, "SignatureDoesNotMatch"]
    assert run(python, demo, script, user="nobody") == [403, "AccessDenied"]


def test_accounts_and_limits_by_eucalyptus_own_calls(python: str, demo: Demo) -> None:
    script = (
        BOTO
        + """
iam = iam()
def ask(action, marker, **params):
    found = iam.get_response(action, params, list_marker=marker)
    name = boto.utils.pythonize_name(action)
    return found[name + "_response"][name + "_result"]
say([
    [dict(each) for each in ask("ListAccounts", "Accounts")["accounts"]],
    list(ask("ListAccountPolicies", "PolicyNames", AccountName="tenant")["policy_names"]),
    ask("GetAccountPolicy", "Set", AccountName="tenant", PolicyName="limit-vminstancenumber")["policy_document"],
    [each["user_name"] for each in ask("ListUsers", "Users", DelegateAccount="tenant")["users"]],
])
"""
    )
    accounts, names, policy, users = run(python, demo, script)
    assert [each["account_name"] for each in accounts][:3] == ["eucalyptus", "tenant", "research"]
    assert "limit-vminstancenumber" in names
    assert "%22Effect%22%3A%20%22Limit%22" in policy
    assert "alice" in users

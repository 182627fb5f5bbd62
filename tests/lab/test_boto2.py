# SPDX-License-Identifier: Apache-2.0
"""boto 2.49, the client on which euca2ools 2 and eucadmin of 3.x stood, against the simulator: SigV2, and S3's own signatures."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from nephoscope.demo import Demo, sample

from tests.lab.support import lab_venv

pytestmark = pytest.mark.lab
PYTHON = lab_venv("boto2") / "bin" / "python"
HEAD = """
import json, os, sys
host, access, secret = json.loads(sys.stdin.read())
import boto
for section in ("Boto", "Credentials"):
    if not boto.config.has_section(section):
        boto.config.add_section(section)
boto.config.set("Boto", "num_retries", "0")
boto.config.set("Boto", "http_socket_timeout", "10")
from boto.exception import BotoServerError
from boto.regioninfo import RegionInfo
common = dict(aws_access_key_id=access, aws_secret_access_key=secret, is_secure=False, port=8773)
def ec2(path="/services/compute"):
    from boto.ec2.connection import EC2Connection
    return EC2Connection(region=RegionInfo(name="demo", endpoint=host), path=path, **common)
def admin(path):
    from boto.connection import AWSQueryConnection
    class Admin(AWSQueryConnection):
        APIVersion = "eucalyptus"
        def _required_auth_capability(self):
            return ["ec2"]
    return Admin(host=host, path=path, **common)
def s3(path="/services/objectstorage"):
    from boto.s3.connection import OrdinaryCallingFormat, S3Connection
    return S3Connection(host=host, path=path, calling_format=OrdinaryCallingFormat(), **common)
def refused(call):
    try:
        return "not refused: %s" % (call(),)
    except BotoServerError as error:
        return [error.status, error.error_code or "", error.message or ""]
"""


def boto(demo: Demo, script: str, user: str = "admin", secret: str = "") -> Any:
    """Run a script, which prints JSON, with boto."""
    who = demo.user(user)
    done = subprocess.run(
        [PYTHON, "-c", HEAD + script],
        input=json.dumps([demo.address("clc"), who.access, secret or who.secret]),
        capture_output=True, text=True, timeout=60, check=False, env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["3.4.3", "4.1.2", "4.4.2"])
def demo(request):
    with Demo(sample(version=request.param)) as cloud:
        yield cloud


def test_ec2_by_signature_version_2(demo):
    path = "/services/compute" if demo.cloud.at_least(4) else "/services/Eucalyptus"
    script = f"""
c = ec2({path!r})
print(json.dumps([[z.name for z in c.get_all_zones()], sorted(v.id for v in c.get_all_volumes(["verbose"]))]))
"""
    zones, volumes = boto(demo, script)
    assert zones == ["one"]
    assert len(volumes) > 2


def test_services_by_signature_version_2_and_get(demo):
    script = """
text = admin("/services/Empyrean").make_request("DescribeServices", {"ListAll": "true"}, "/", "GET").read()
print(json.dumps(text.decode()))
"""
    assert "<euca:name>one-cc-1</euca:name>" in boto(demo, script)
    assert demo.requests[-1] == ("clc", "GET", "/services/Empyrean/", "DescribeServices")


def test_s3_writes_reads_and_removes(demo):
    path = "/services/objectstorage" if demo.cloud.at_least(4) else "/services/Walrus"
    script = f"""
c = s3({path!r})
bucket = c.create_bucket("lab")
key = bucket.new_key("a b/c")
key.set_contents_from_string("text")
found = [each.name for each in bucket.list()]
text = bucket.get_key("a b/c").get_contents_as_string().decode()
key.delete()
bucket.delete()
print(json.dumps([found, text, [b.name for b in c.get_all_buckets() if b.name == "lab"]]))
"""
    assert boto(demo, script) == [["a b/c"], "text", []]


def test_a_wrong_secret_is_refused():
    with Demo(sample()) as demo:
        script = """
print(json.dumps([refused(lambda: ec2().get_all_zones()), refused(lambda: s3().get_all_buckets())]))
"""
        first, second = boto(demo, script, secret="wrong")
    assert first == [403, "403 Forbidden", "Signature validation failed"]
    assert second[:2] == [403, "SignatureDoesNotMatch"]

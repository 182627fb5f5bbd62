# SPDX-License-Identifier: Apache-2.0
"""Bad input to every check that asks the signed services of a cloud: state and first line, and that none of it is ever OK.

One table for all of them: what holds for the services' own words, keys, clocks and documents must hold for each check.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.demo import Demo, resources, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.plugin.readers import check_output

pytest.importorskip("botocore", reason="the extra aws is not installed")

# Check -> group, what it asks first, and its own options.
CHECKS = {
    "euca_services": ("eucalyptus", "DescribeServices", ["--topology", "{folder}/topology.toml"]),
    "euca_nodes": ("eucalyptus", "DescribeServices", ["--topology", "{folder}/topology.toml"]),
    "euca_resources": ("eucalyptus", "DescribeAvailabilityZones", []),
    "euca_properties": ("configmgmt", "DescribeProperties", ["--baseline", "{folder}/baseline"]),
    "euca_faults": ("eucalyptus", "DescribeServices", ["--mode", "events"]),
    "cloud_capacity": ("policy", "DescribeInstanceTypes", ["--dialect", "eucalyptus"]),
    "quota": ("policy", "ListAccounts", ["--dialect", "eucalyptus"]),
    "ip_pool": ("policy", "DescribeAddresses", ["--dialect", "eucalyptus"]),
    "unused_resources": ("policy", "DescribeAvailabilityZones", ["--dialect", "eucalyptus"]),
}
each_check = pytest.mark.parametrize("name", CHECKS)


class Cloud:
    """A simulated cloud, and a folder for what its clients need."""

    def __init__(self, demo: Demo, folder: Path) -> None:
        self.demo, self.folder = demo, folder
        demo.topology(folder / "topology.toml")
        (folder / "baseline").write_text("one.storage.blockstoragemanager = overlay\n")
        self.keys = demo.credentials(folder / "admin.ini")

    def run(self, name, *argv, keys=None):
        group, _, own = CHECKS[name]
        check = importlib.import_module(f"checks.{group}.check_{name}").CHECK
        words = ["-H", self.demo.address("clc"), "--credentials", str(keys or self.keys), "-t", "3"]
        words += ["--state-dir", str(self.folder / "state"), *(word.format(folder=self.folder) for word in own)]
        return check.run([*words, *argv], clock=Clock(0))

    def line(self, name, *argv, keys=None):
        """State and first line without name and perfdata, PLACE for the cloud's address, names for those of hosts."""
        outcome = self.run(name, *argv, keys=keys)
        check_output(outcome.text)
        title, _, said = outcome.line.partition(" | ")[0].partition(" - ")
        assert title.partition(" ")[0] == name.upper()
        said = said.replace(f"{self.demo.address('clc')}:8773", "PLACE")
        names = {host.address: host.name for host in self.demo.cloud.hosts.values()}
        said = re.sub(r"127(\.\d+){3}", lambda found: names[found.group()], said)
        return outcome.state, said

    def file(self, content, mode=0o600):
        path = Path("other.ini")  # in the folder, where the tests run
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path


@pytest.fixture(scope="module")
def shared():
    with Demo(sample()) as demo:
        yield demo


@pytest.fixture
def cloud(shared, tmp_path, monkeypatch):
    for word in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "EUCA_CONFIG_PATH", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(word, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield Cloud(shared, tmp_path)
    shared.tell("heal", "clc")
    shared.tell("skew", 0)


@each_check
def test_the_cloud_of_these_tests_is_looked_at(cloud, name):
    """Without this the others would say nothing: here each check sees all that it wants to see."""
    cloud.demo.tell("state", "imagingbackend@clc", "ENABLED")
    cloud.demo.tell("quota", "research", "ec2:quota-vminstancenumber", "16")
    assert cloud.line(name)[0] == OK


# ---- answers

CUT = r"the answer is cut or no XML: [a-z ()-]+: line \d, column \d+"
ANSWERS = [
    ("bomb", UNKNOWN, "the answer has a document type or entities: refused"),
    ("truncated", UNKNOWN, CUT),
    ("garbage", UNKNOWN, CUT),
    ("empty", UNKNOWN, "the answer is empty"),
    ("html", UNKNOWN, "the answer is HTML, not XML: no Eucalyptus there, or a proxy before it"),
    ("login", UNKNOWN, r"HTTP 302: redirected to https://sso\.example/login, which is no service of a cloud"),
    ("huge", UNKNOWN, "more than 64 MiB"),
    ("noise", UNKNOWN, "no HTTP: BadStatusLine"),
    ("cut", CRITICAL, "the connection was cut before the answer was whole"),
    ("error500", CRITICAL, "HTTP 500: An internal error has occurred"),
    ("unavailable", CRITICAL, "HTTP 503: the service is not enabled on this host, and it knows of no other"),
    ("reset", CRITICAL, "Connection reset by peer"),
    ("stop", CRITICAL, "Connection refused"),
]  # fmt: skip


@each_check
@pytest.mark.parametrize(("failure", "state", "said"), ANSWERS, ids=[each[0] for each in ANSWERS])
def test_answers_that_are_none(cloud, name, failure, state, said):
    cloud.demo.tell(failure, "clc")
    found, line = cloud.line(name, "--absent-state", "ok")
    assert found == state
    assert re.fullmatch(rf"PLACE: {said} \({CHECKS[name][1]}\)", line)


@each_check
@pytest.mark.parametrize("failure", ["hang", "drip"])
def test_answers_that_do_not_come(cloud, name, failure):
    cloud.demo.tell(failure, "clc")
    found, line = cloud.line(name, "-t", "1", "--absent-state", "ok")
    assert found == CRITICAL
    assert re.fullmatch(rf"PLACE: no answer in 0\.\d s \({CHECKS[name][1]}\)", line)


# ---- keys and clocks

SECRET = "s3cr3t-which-nobody-may-see"


@each_check
def test_a_wrong_secret(cloud, name):
    keys = cloud.file(re.sub("secret-key = .*", f"secret-key = {SECRET}", cloud.keys.read_text()))
    assert cloud.line(name, keys=keys) == (
        UNKNOWN,
        f"PLACE: HTTP 403: Signature validation failed ({CHECKS[name][1]}): needs the secret key that belongs to it",
    )
    assert SECRET not in cloud.run(name, "-vvv", keys=keys).text


@each_check
def test_an_access_key_that_is_not_known_and_a_session_that_has_expired(cloud, name):
    said = (
        f"PLACE: HTTP 403: Invalid access key or token ({CHECKS[name][1]}):"
        " needs an access key that is known and in force"
    )
    text = cloud.keys.read_text()
    assert cloud.line(name, keys=cloud.file(re.sub("key-id = .*", "key-id = AKIAAAAAAAAAAAAAAAAA", text))) == (
        UNKNOWN,
        said,
    )
    # A session that has ended is a key that is no longer there.
    expired = re.sub("(secret-key = .*)", r"\1\nsecurity-token = " + SECRET, text)
    assert cloud.line(name, keys=cloud.file(expired)) == (UNKNOWN, said)
    assert SECRET not in cloud.run(name, "-vvv", keys=cloud.file(expired)).text


NEEDS = "needs keys in a file that this user may read: --credentials, ~/.euca/*.ini or ~/.aws/credentials"


@each_check
def test_files_of_keys_that_are_none(cloud, name):
    text, asked = cloud.keys.read_text(), len(cloud.demo.requests)
    assert cloud.line(name, keys="none.ini") == (
        UNKNOWN, f"none.ini: No such file or directory (read the credentials): {NEEDS}",
    )  # fmt: skip
    for content, mode, said in (
        (text, 0o644, "others can read the keys in it (mode 0644) (read the credentials): needs chmod 600"
                      " other.ini, and change the keys"),
        ("", 0o600, f"no key (find the credentials): {NEEDS}"),
        (b"\x00\xff[[[\n", 0o600, "no file of credentials (read the credentials)"),
        (f"[user x]\nsecret-key {SECRET}\n", 0o600, "it is no .ini: ParsingError (read the credentials)"),
    ):  # fmt: skip
        assert cloud.line(name, keys=cloud.file(content, mode)) == (UNKNOWN, f"other.ini: {said}")
        assert SECRET not in cloud.run(name, "-vvv", keys=cloud.file(content, mode)).text
    assert len(cloud.demo.requests) == asked  # nobody is asked with keys that others know


@each_check
@pytest.mark.parametrize(("skew", "said"), [(-31, "31 s ahead of"), (1000, "1000 s behind")])
def test_clocks_that_differ(cloud, name, skew, said):
    cloud.demo.tell("skew", skew)
    found, line = cloud.line(name)
    assert found == UNKNOWN
    assert re.sub(r"about (30|32|999|1001) s", f"about {abs(skew)} s", line) == (
        f"PLACE: the clocks differ: this host's is about {said} the server's ({CHECKS[name][1]}): needs clocks that agree"
        " within 20 s (check_clock); the key may be good"
    )


# ---- topology

HOST = '[hosts.a]\naddress = "192.0.2.1"\n'
TOPOLOGIES = {
    "truncated": ("[zones", "topology: not TOML: "),
    "unknown type": (HOST + 'services = ["walrusback"]', "topology: host 'a': 'walrusback' is no component type of Eucalyptus:"
                     " did you mean walrusbackend? (read bad.toml)"),
    "unknown zone": (HOST + 'zone = "two"\n[zones.one]', "topology: host 'a' is in zone 'two', which is none of: one (read bad.toml)"),
    "two of a name": (f'[zones.one]\n{HOST}zone = "one"\nservices = ["storage:s"]\n' + HOST.replace("a]", "b]").replace("2.1", "2.2") +
                      'zone = "one"\nservices = ["storage:s"]',
                      "topology: host 'b': service 'storage:s' is already on host 'a' (read bad.toml)"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["euca_services", "euca_nodes"])
@pytest.mark.parametrize("case", TOPOLOGIES)
def test_topologies_that_cannot_be(cloud, name, case):
    content, said = TOPOLOGIES[case]
    Path("bad.toml").write_text(content)
    state, line = cloud.line(name, "--topology", "bad.toml", "--absent-state", "ok")
    assert (state, line[: len(said)] if said.endswith(": ") else line) == (UNKNOWN, said)


# ---- names

NASTY = "né|w \"q'\u202e\n=1;2"
TOLD = "né w \"q' =1;2"


@pytest.fixture
def nasty(tmp_path, monkeypatch):
    """A cloud in which everything that has a name has a bad one, and each check has something to tell of it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with Demo(sample()) as demo:
        model = demo.cloud
        service = model.find("one-sc-1")
        service.name = service.message = NASTY
        service.state = "BROKEN"
        demo.tell("state", "one-nc-1", "NOTREADY", NASTY)
        demo.tell("volume", NASTY, "error", "900000")
        demo.tell("snapshot", NASTY, "failed")
        demo.tell("property", "one.storage.blockstoragemanager", NASTY)
        account = resources.accounts(model)["tenant"]
        account.name = NASTY
        for kind in (resources.Instance, resources.Volume, resources.Snapshot, resources.Address):
            for thing in resources.things(model, kind).values():
                thing.owner = NASTY if thing.owner == "tenant" else thing.owner
        demo.tell("quota", NASTY, "ec2:quota-vminstancenumber", "1")
        for address in list(resources.things(model, resources.Address)):
            demo.tell("address", address, NASTY)
        model.zones[0] = NASTY
        for thing in model.services:
            thing.partition = NASTY if thing.partition == "one" else thing.partition
        demo.tell("capacity", 0, 0, 0)
        yield Cloud(demo, tmp_path)


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("euca_services", CRITICAL, f"cluster one-cc-1 is missing: it should be in zone one on host one-cc, but is in zone {TOLD},"
         f" storage {TOLD} is BROKEN, nobody serves zone {TOLD}: né w \"q' … and 2 more"),
        ("euca_nodes", CRITICAL, f"{TOLD} not enabled share 50 % is above 10 %, one enabled 0 is below 1, one not enabled share"
         " 100 % is above 10 %, one/one-nc-1 is missing: the topology has it, the cloud does not list it … and 2 more"),
        ("euca_resources", WARNING, f"failed volumes 1 is above 0 ({TOLD} error), failed snapshots 1 is above 0 ({TOLD} failed)"
         " … and 1 more"),
        ("euca_properties", CRITICAL, f"one.storage.blockstoragemanager is '{TOLD}', recorded 'overlay'"),
        ("euca_faults", CRITICAL, f"node one-nc-1 says: né w \"q', storage {TOLD} says: né w \"q'"),
        ("cloud_capacity", CRITICAL, f"{TOLD} has no room for one instance of any type, even when empty: does no node serve?"),
        ("quota", CRITICAL, f"{TOLD}/instances used 400 % is above 95 % (4 of 1), WARNING: unlimited 1 is above 0 (research)"),
        ("ip_pool", CRITICAL, "public used 100 % is above 90 % (0 of 8 free)"),
        ("unused_resources", OK, "0 unused for long; now 1 of 6 instances, 1 of 4 volumes, 8 of 8 addresses, 2 of 3 snapshots"),
    ],
)  # fmt: skip
def test_names_from_outside_break_no_line(nasty, name, state, said):
    """By the readers of the schedulers, in check_output: no bar, control character or quote of a name gets anywhere."""
    assert nasty.line(name) == (state, said)
    check_output(nasty.run(name, "-vvv").text)

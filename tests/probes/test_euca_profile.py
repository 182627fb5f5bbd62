# SPDX-License-Identifier: Apache-2.0
"""Keys and addresses in the files of euca2ools (conf/euca2ools.ini of 3.4), of Eucalyptus' eucarc (3.4) and of the AWS clients."""

import os

import pytest
from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed
from nephoscope.probes.euca_profile import KEYS, Profile, find

INI = """
[global]
default-region = lab

[region lab]
user = ops
bootstrap-url = http://clc.example:8773/services/Empyrean/
ec2-url = http://ufs.example:8773/services/compute/

[region other]
bootstrap-url = http://other.example:8773/services/Empyrean

[user ops]
key-id = AKIOPS
secret-key = s3cr%t
account-id = 000000000001

[user audit]
key-id = AKIAUDIT
secret-key = audit-secret
"""
EUCARC = """
EUCA_KEY_DIR=$(dirname $(readlink -f ${BASH_SOURCE}))
export EC2_URL=http://clc.example:8773/services/compute
export S3_URL=http://clc.example:8773/services/objectstorage
export EC2_ACCESS_KEY='AKIRC'
export EC2_SECRET_KEY='rc-secret'
alias ec2-bundle-image="ec2-bundle-image --cert ${EC2_CERT}"
"""
AWS = "[default]\naws_access_key_id = AKIDEF\naws_secret_access_key = def-secret\n"
AWS += "[lab2]\naws_access_key_id = AKILAB\naws_secret_access_key = lab-secret\naws_session_token = tok\n"


@pytest.fixture
def home(tmp_path):
    def make(**files):
        for name, text in files.items():
            path = tmp_path / {"ini": ".euca/lab.ini", "eucarc": ".euca/eucarc"}.get(name, f".aws/{name}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)
        return {"HOME": str(tmp_path)}

    return make


def test_the_default_region_with_its_user(home, tmp_path):
    profile = find(None, None, home(ini=INI))
    urls = {
        "bootstrap": "http://clc.example:8773/services/Empyrean/",
        "compute": "http://ufs.example:8773/services/compute/",
    }
    assert profile == Profile("AKIOPS", "s3cr%t", "", urls, f"{tmp_path}/.euca/lab.ini [user ops]")


def test_a_region_a_user_at_a_region_and_a_profile_of_aws(home):
    there = home(ini=INI, credentials=AWS, config="[profile lab2]\nendpoint_url = http://clc.example:8773/\n")
    assert find("lab", None, there).key == "AKIOPS"
    other = find("audit@other", None, there)
    assert (other.key, other.urls) == ("AKIAUDIT", {"bootstrap": "http://other.example:8773/services/Empyrean"})
    aws = find("lab2", None, there)
    assert (aws.key, aws.secret, aws.token, aws.urls["euare"]) == (
        "AKILAB",
        "lab-secret",
        "tok",
        "http://clc.example:8773/",
    )


def test_the_environment_before_files_and_a_name_before_the_environment(home):
    words = {
        "AWS_ACCESS_KEY_ID": "AKIENV",
        "AWS_SECRET_ACCESS_KEY": "e",
        "EUCA_BOOTSTRAP_URL": "http://e.example:8773/",
    }
    there = {**home(ini=INI), **words}
    assert find(None, None, there)[:4] == ("AKIENV", "e", "", {"bootstrap": "http://e.example:8773/"})
    assert find("lab", None, there).key == "AKIOPS"


def test_a_eucarc_and_a_file_of_ones_own(home, tmp_path):
    there = home(eucarc=EUCARC)
    profile = find(None, None, there)
    assert (profile.key, profile.secret) == ("AKIRC", "rc-secret")
    assert profile.urls["s3"] == "http://clc.example:8773/services/objectstorage"
    own = tmp_path / "own"
    own.write_text(INI)
    own.chmod(0o600)
    assert find(None, str(own), there).key == "AKIOPS"
    assert find("audit@lab", str(own), there).key == "AKIAUDIT"


@pytest.mark.parametrize(
    ("cloud", "files", "kind", "said"),
    [
        (None, {}, NOT_ALLOWED, "no key"),
        ("nosuch", {"ini": INI}, NOT_ALLOWED, "no key for nosuch; there are lab, other"),
        (
            None,
            {"ini": INI.replace("default-region = lab", "").replace("user = ops", "")},
            NOT_ALLOWED,
            "which cloud? give --cloud",
        ),
        ("other", {"ini": INI}, NOT_ALLOWED, "[region other] names no user"),
        ("nobody@lab", {"ini": INI}, NOT_ALLOWED, "no [user nobody] for [region lab]"),
        (
            "lab",
            {"ini": INI.replace("secret-key = s3cr%t", "")},
            NOT_ALLOWED,
            "the access key or the secret key is missing",
        ),
        (
            "lab",
            {"ini": "key-id = AKI\nsecret-key = abc\n"},
            UNREADABLE,
            "line 1 is no .ini: MissingSectionHeaderError",
        ),
        ("lab", {"ini": "[user ops]\nkey-id = AKI\0\n"}, UNREADABLE, "no file of credentials"),
    ],
)
def test_what_is_missing_or_wrong_is_said_without_a_secret(home, cloud, files, kind, said):
    with pytest.raises(Failed) as caught:
        find(cloud, None, home(**files))
    assert (caught.value.kind, said in caught.value.error) == (kind, True), caught.value.error
    assert "s3cr" not in str(caught.value) + repr(caught.value)
    assert "abc" not in str(caught.value)


def test_keys_that_others_can_read_are_not_taken(home, tmp_path):
    there = home(ini=INI)
    (tmp_path / ".euca" / "lab.ini").chmod(0o644)
    with pytest.raises(Failed, match=r"others can read the keys in it \(mode 0644\)") as caught:
        find("lab", None, there)
    assert caught.value.kind == NOT_ALLOWED
    assert caught.value.cure.startswith("chmod 600")
    # A file of addresses alone may be read by all: so /etc/euca2ools/conf.d is installed.
    (tmp_path / ".euca" / "lab.ini").chmod(0o600)
    addresses = tmp_path / ".euca" / "a.ini"
    addresses.write_text("[region far]\nuser = ops\nbootstrap-url = http://far.example:8773/\n")
    addresses.chmod(0o644)
    assert find("far", None, there).urls == {"bootstrap": "http://far.example:8773/"}


def test_the_configuration_of_euca2ools_shows_a_key_in_a_comment(home, tmp_path):
    """conf/euca2ools.ini of 3.4, which is installed 0644: no secret, and no reason to refuse the operator's own file."""
    there = home(ini=INI)
    sample = tmp_path / ".euca" / "euca2ools.ini"
    sample.write_text("; [user example]\n; key-id = AKIEXAMPLE\n; secret-key = vrwEXAMPLE\n#secret-key=x\n")
    sample.chmod(0o644)
    assert find("lab", None, there).key == "AKIOPS"
    sample.write_text("[user example]\n  Secret-Key: x\n")
    with pytest.raises(Failed, match="others can read the keys in it"):
        find(None, None, there)


@pytest.mark.parametrize("spoil", ["open", "closed", "torn", "directory"])
def test_a_file_that_has_nothing_to_do_with_the_cloud_that_is_named(home, tmp_path, spoil):
    """An administrator's keys beside one's own, /root's files under sudo: they must not stop a check that needs others."""
    there = home(ini=INI)
    other = tmp_path / ".euca" / "a.ini"
    if spoil == "directory":
        other.mkdir()
    else:
        other.write_text("[user x]\nsecret-key = y\n" if spoil != "torn" else "torn")
        other.chmod({"open": 0o644, "closed": 0}.get(spoil, 0o600))
    if spoil == "closed" and os.geteuid() == 0:
        other.unlink()
        other.symlink_to("a.ini")  # what not even root can open
    assert find("lab", None, there).key == "AKIOPS"
    # Without a name it might be the very file that is meant; with a name that is nowhere else, too.
    for cloud in (None, "nosuch"):
        with pytest.raises(Failed) as caught:
            find(cloud, None, there)
        assert caught.value.of == str(other)


def test_a_pipe_or_a_device_is_no_file_of_keys(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (f"{tmp_path}/pipe", "/dev/zero"):
        with pytest.raises(Failed, match="no file of credentials") as caught:
            find(None, name, {})
        assert caught.value.kind == UNREADABLE


def test_a_byte_order_mark_is_no_key(home):
    assert find("lab", None, home(ini="\ufeff" + INI)).key == "AKIOPS"


def test_a_file_that_was_named_must_be_there(tmp_path):
    with pytest.raises(Failed) as caught:
        find(None, str(tmp_path / "none.ini"), {"HOME": str(tmp_path)})
    assert caught.value == Failed(
        NOT_ALLOWED, f"{tmp_path}/none.ini", "read the credentials", "No such file or directory", KEYS
    )


def test_a_profile_shows_no_secret():
    assert "s3cret" not in repr(Profile("AKI", "s3cret", "s3cret", {}, "x"))


def test_a_role_with_the_keys_of_another_profile(home):
    config = "[profile watch]\nrole_arn = arn:aws:iam::1:role/monitor\nsource_profile = lab2\nendpoint_url = http://c.example/\n"
    profile = find("watch", None, home(credentials=AWS, config=config))
    assert (profile.key, profile.secret, profile.token, profile.role) == (
        "AKILAB",
        "lab-secret",
        "tok",
        "arn:aws:iam::1:role/monitor",
    )
    assert profile.urls["bootstrap"] == "http://c.example/"
    one = config.replace("c.example/", "c.example:8773/services/compute")
    assert find("watch", None, home(credentials=AWS, config=one)).urls["bootstrap"] == "http://c.example:8773"
    assert find("lab2", None, home(credentials=AWS, config=config)).role == ""
    with pytest.raises(Failed, match="no key for gone, the source_profile of watch"):
        find("watch", None, home(credentials=AWS, config=config.replace("= lab2", "= gone")))

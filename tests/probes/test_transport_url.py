# SPDX-License-Identifier: Apache-2.0
"""Transport URLs and the files that they stand in, as oslo.messaging reads them (transport.TransportURL, driver rabbit)."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes.stream import Tls
from nephoscope.probes.transport_url import ENCODE, TRIED, Broker, brokers, parse


@pytest.mark.parametrize(
    "url, found",
    [
        (
            "rabbit://nova:s3cret@192.0.2.1:5673/nova",
            [Broker("192.0.2.1", 5673, "nova", "s3cret", "nova")],
        ),
        (
            "rabbit://nova:a@one.example:5672,nova:b@two.example/",
            [Broker("one.example", 5672, "nova", "a"), Broker("two.example", 5672, "nova", "b")],
        ),
        ("rabbit://u:p@h.example", [Broker("h.example", 5672, "u", "p", "/")]),
        ("rabbit://u:p@h.example//", [Broker("h.example", 5672, "u", "p", "/")]),
        ("rabbit://u:p@h.example/%2Fa%2Fb", [Broker("h.example", 5672, "u", "p", "/a/b")]),
        ("rabbit://u%40x:p%3A%2F%40%25@[2001:db8::1]:5/v", [Broker("2001:db8::1", 5, "u@x", "p:/@%", "v")]),
        ("rabbit://u@x:p@h.example", [Broker("h.example", 5672, "u@x", "p")]),
        ("rabbit://h.example:5672/", [Broker("h.example", 5672, "guest", "guest")]),
        ("rabbit://u@h.example", [Broker("h.example", 5672, "u", "")]),
        ("kombu+rabbit://u:p@h.example", [Broker("h.example", 5672, "u", "p")]),
        (
            "rabbit://u:p@h.example/?ssl=1&ssl_ca_file=/ca.pem",
            [Broker("h.example", 5672, "u", "p", "/", Tls("/ca.pem", False, None, None, False))],
        ),
        (
            "rabbit://u:p@h.example/?ssl=True",
            [Broker("h.example", 5672, "u", "p", "/", Tls(None, True, None, None, False))],
        ),
        ("rabbit://u:p@h.example/?ssl=0", [Broker("h.example", 5672, "u", "p")]),
    ],
)
def test_urls(url, found):
    assert parse(url, "x") == found


@pytest.mark.parametrize(
    "url, failed",
    [
        ("", (UNREADABLE, "it is no URL like rabbit://user:password@host:5672/virtual_host", "")),
        ("hunter22", (UNREADABLE, "it is no URL like rabbit://user:password@host:5672/virtual_host", "")),
        ("rabbit://", (UNREADABLE, "it is no URL like rabbit://user:password@host:5672/virtual_host", "")),
        ("rabbit://[::1", (UNREADABLE, "it is no URL like rabbit://user:password@host:5672/virtual_host", "")),
        ("kafka://u:hunter22@h", (ABSENT, "its transport is kafka, not RabbitMQ", "")),
        ("fake://", (UNREADABLE, "it is no URL like rabbit://user:password@host:5672/virtual_host", "")),
        ("amqp://u:hunter22@h", (ABSENT, "its transport is AMQP 1.0, not RabbitMQ", "")),
        # Passwords that nobody encoded: what is left of them must not be taken for hosts and told.
        ("rabbit://u:hun/ter22@h", (UNREADABLE, "there is an @ behind its hosts", ENCODE)),
        ("rabbit://u:hun#ter22@h", (UNREADABLE, "there is an @ behind its hosts", ENCODE)),
        ("rabbit://u:hun?ter22@h", (UNREADABLE, "there is an @ behind its hosts", ENCODE)),
        ("rabbit://u:12/ter22@h", (UNREADABLE, "there is an @ behind its hosts", ENCODE)),
        ("rabbit://u:p@h:hunter22", (UNREADABLE, "its host or port is none", ENCODE)),
        ("rabbit://u:p@h:70000", (UNREADABLE, "its host or port is none", ENCODE)),
        ("rabbit://u:12,ter22@h", (UNREADABLE, "some of its hosts have a log-in and others have none", ENCODE)),
    ],
)
def test_what_is_none(url, failed):
    with pytest.raises(Failed) as caught:
        parse(url, "nova.conf")
    kind, error, cure = failed
    assert caught.value == Failed(kind, "nova.conf", TRIED, error, cure)
    assert "ter22" not in str(caught.value.args)


def test_no_password_is_shown():
    broker = Broker("h.example", 5672, "u", "hunter22", "v")
    assert "hunter22" not in f"{broker} {broker!r} {[broker]}"
    assert (broker.place, broker.of) == ("h.example:5672/v", "u@h.example:5672/v")
    assert Broker("2001:db8::1", 5, "u").of == "u@[2001:db8::1]:5"


def written(tmp_path, **texts):
    root = tmp_path / "root"
    for name, text in texts.items():
        path = root / "etc" / name / f"{name}.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Run(root=str(root)), [f"/etc/{name}/{name}.conf" for name in texts]


def test_files_of_several_services(tmp_path):
    """One broker that two services use with one log-in is one; each log-in is an object of its own."""
    run, paths = written(
        tmp_path,
        nova="[DEFAULT]\ntransport_url = rabbit://os:a@h.example/\n[oslo_messaging_notifications]\n"
        "transport_url = rabbit://note:b@h.example/\n",
        neutron="[DEFAULT]\npass = a\ntransport_url=rabbit://os:$pass@h.example:5672//\n",
    )
    assert brokers(run, paths) == [
        Broker("h.example", 5672, "os", "a"),
        Broker("h.example", 5672, "note", "b"),
    ]


@pytest.mark.parametrize(
    "lines, tls",
    [
        ("", None),
        ("ssl = true\n", Tls(None, True, named=False)),
        (
            "ssl = true\nssl_ca_file = /ca\nssl_cert_file = /c\nssl_key_file = /k\n",
            Tls("/ca", False, "/c", "/k", False),
        ),
        ("rabbit_use_ssl = True\nkombu_ssl_ca_certs = /ca\n", Tls("/ca", False, named=False)),
    ],
)
def test_tls_of_a_file(tmp_path, lines, tls):
    run, paths = written(
        tmp_path, nova=f"[DEFAULT]\ntransport_url = rabbit://u:p@h.example\n[oslo_messaging_rabbit]\n{lines}"
    )
    assert brokers(run, paths) == [Broker("h.example", 5672, "u", "p", "/", tls)]


def test_files_that_say_nothing(tmp_path):
    run, paths = written(
        tmp_path,
        nova="[DEFAULT]\n#transport_url = rabbit://u:p@h.example\n",
        neutron="[DEFAULT]\ntransport_url = rabbit://u:$password@h.example\n",
        cinder="[DEFAULT]\ntransport_url = rabbit://u:p@h.example\n",
    )
    nova, neutron, _ = paths
    assert brokers(run, [*paths, "/etc/nowhere.conf"]) == [
        Failed(ABSENT, nova, f"read {nova}", "no line of it sets `transport_url`"),
        Failed(
            UNREADABLE,
            neutron,
            "read transport_url of [DEFAULT]",
            "it refers to $password, which these files do not set",
        ),
        Broker("h.example", 5672, "u", "p"),
        Failed(ABSENT, "/etc/nowhere.conf", "read /etc/nowhere.conf", "No such file or directory"),
    ]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    run, paths = written(tmp_path, nova="")

    def refuse(*_words, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    (failed,) = brokers(run, paths)
    assert (failed.kind, failed.error) == (NOT_ALLOWED, "Permission denied")
    assert failed.cure.startswith(f"a mode of {paths[0]} by which user ")

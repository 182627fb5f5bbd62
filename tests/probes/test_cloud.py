# SPDX-License-Identifier: Apache-2.0
"""The records that all dialects share, and the way to a dialect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nephoscope.base import Run
from nephoscope.probes import cloud, euca_cloud
from nephoscope.probes.cloud import Quota, Quotas, Share, Size


def test_shares_of_nothing_are_not_measured():
    assert [Share("a", "b", used, total).percent for used, total in ((1, 4), (0, 4), (0, 0))] == [25.0, 0.0, None]


def test_names_of_objects():
    assert Size("one", "m1.small", 1, 2, 1, 1, 1).of == "one/m1.small"
    assert Quota("acme", "", "volumes", 1, 1).of == "acme/volumes"
    assert Quota("acme", "bob", "volumes", 1, 1).of == "acme/bob/volumes"


def test_what_is_limited_and_not_told():
    quotas = (Quota("a", "", "buckets", 1, None), Quota("b", "", "buckets", 1, None), Quota("a", "", "volumes", 1, 0))
    assert Quotas(quotas, (), (), 2).untold == ("buckets",)


@pytest.mark.parametrize("question", ["capacity", "quotas", "addresses", "unused"])
def test_every_question_goes_to_the_dialect_that_was_named(question, monkeypatch):
    options, run = SimpleNamespace(dialect="eucalyptus"), Run(8.0)
    monkeypatch.setattr(euca_cloud, question, lambda *asked: asked)
    assert getattr(cloud, question)(options, run) == (options, run)
    assert cloud.DIALECTS == ("eucalyptus",)
    with pytest.raises(KeyError):
        getattr(cloud, question)(SimpleNamespace(dialect="klingon"), run)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import NOT_ALLOWED, Failed, Run
from nephoscope.probes import sysfs

from tests.probes.kernel_tree import put, refuse


@pytest.mark.parametrize(("text", "word"), [("up", "up"), ("16 Gbit ", "16 Gbit"), ("", ""), ("(null)", "")])
def test_words(tmp_path, text, word):
    put(tmp_path, "/sys/x", text)
    assert sysfs.word(Run(root=str(tmp_path)), "/sys/x") == word


def test_what_is_not_there(tmp_path):
    run = Run(root=str(tmp_path))
    assert sysfs.word(run, "/sys/x/y") == ""
    assert sysfs.names(run, "/sys/x") == []
    put(tmp_path, "/sys/x/y", "")
    assert sysfs.names(run, "/sys/x") == ["y"]
    assert sysfs.names(run, "/sys/x/y") == []


def test_what_may_not_be_read(tmp_path, monkeypatch):
    refuse(monkeypatch, "/sys/x")
    for ask, tried, of in ((sysfs.word, "read", "me"), (sysfs.names, "list", "")):
        with pytest.raises(Failed) as caught:
            ask(Run(root=str(tmp_path)), "/sys/x", *filter(None, [of]))
        assert caught.value == Failed(NOT_ALLOWED, of, f"{tried} /sys/x", "Permission denied")

# SPDX-License-Identifier: Apache-2.0
"""The store: nothing lost between writers, nothing half written, closed to others."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from nephoscope.base.cache import Cache
from nephoscope.base.run import Clock
from nephoscope.base.state import LIMIT, StateError, Store, directory

WRITER = """
import sys
from nephoscope.base.state import Store
for _ in range(100):
    store = Store(sys.argv[1], "check_x", ["key"])
    while not store.lock(30):
        pass
    data = store.read()
    store.prepare({"n": data.get("n", 0) + 1})
    store.commit()
    store.release()
"""


def test_four_writers_times_a_hundred_updates_leave_four_hundred(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "s")]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert Store(str(tmp_path / "s"), "check_x", ["key"]).read() == {"n": 400}


def put(store, data):
    assert store.lock()
    store.prepare(data)
    store.commit()
    store.release()


def test_a_writer_that_dies_leaves_the_old_state_whole(tmp_path):
    put(Store(str(tmp_path / "s"), "check_x", 1), {"n": 1})
    body = WRITER.replace("store.commit()", "import os; os.kill(os.getpid(), 9)").replace('["key"]', "1")
    assert subprocess.run([sys.executable, "-c", body, str(tmp_path / "s")]).returncode == -signal.SIGKILL
    store = Store(str(tmp_path / "s"), "check_x", 1)
    assert store.lock(1)  # the lock died with it
    assert store.read() == {"n": 1}


def test_a_disk_that_takes_no_more_is_told_with_the_cure(tmp_path):
    """A file-size limit stands for the full disk that tests/lab makes for real."""
    put(Store(str(tmp_path / "s"), "check_x", 1), {"n": 1})
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            store = Store(str(tmp_path / "s"), "check_x", 1)
            assert store.lock()
            try:
                store.prepare({"n": "x" * 1000})
            except StateError as error:
                code = 0 if "can't write state in" in str(error) and "give --state-dir" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Store(str(tmp_path / "s"), "check_x", 1).read() == {"n": 1}
    assert [name for name in os.listdir(tmp_path / "s") if name.endswith(".new")] == []


def test_a_held_lock_is_waited_for_and_then_given_up(tmp_path):
    first, second = (Store(str(tmp_path / "s"), "check_x", 1) for _ in range(2))
    assert first.lock()
    assert second.lock(0.05) is False
    first.release()
    assert second.lock(0.05) is True
    second.release()


def test_a_state_over_its_limit_is_refused(tmp_path):
    store = Store(str(tmp_path / "s"), "check_x", 1)
    store.lock()
    with pytest.raises(StateError, match="over the limit"):
        store.prepare({"n": "x" * LIMIT})


def test_a_link_is_not_followed(tmp_path):
    store = Store(str(tmp_path / "s"), "check_x", 1)
    put(store, {"n": 1})
    target = tmp_path / "target"
    target.write_text("precious")
    os.symlink(target, store.file[:-5] + ".new")
    assert store.lock()
    with pytest.raises(StateError):
        store.prepare({"n": 2})
    store.release()
    assert target.read_text() == "precious"


def test_a_linked_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    os.symlink(tmp_path / "real", tmp_path / "link")
    with pytest.raises(StateError, match="is not a directory of this user's own"):
        Store(str(tmp_path / "link"), "check_x", 1).lock()


def test_keys_do_not_mix(tmp_path):
    for key in ([], {}, "", 0, ["a"], ["b"]):
        store = Store(str(tmp_path / "s"), "check_x", key)
        assert store.read() == {}
        put(store, {"key": json.dumps(key)})
    assert len([name for name in os.listdir(tmp_path / "s") if name.endswith(".json")]) == 6


def test_where_state_lies(monkeypatch, tmp_path):
    assert directory("rel") == os.path.abspath("rel")
    monkeypatch.setattr("nephoscope.base.state.SYSTEM", str(tmp_path / "var"))
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert directory() == "/xdg/nephoscope"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert directory() == "/home/x/.local/state/nephoscope"
    (tmp_path / "var").mkdir()
    assert directory() == str(tmp_path / "var")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("nephoscope.base.state.SYSTEM", str(tmp_path / "nosuch"))
    assert directory().endswith("/.local/state/nephoscope")


def test_cache_keeps_until_its_end_and_closed(tmp_path):
    cache = Cache(str(tmp_path / "c"))
    now = Clock().time()
    assert cache.get("cloud user project") is None
    cache.put("cloud user project", {"token": "t"}, now + 3600)
    assert cache.get("cloud user project") == {"token": "t"}
    assert cache.get("cloud user other") is None
    assert Cache(str(tmp_path / "c"), Clock(3545)).get("cloud user project") is None  # renewed before it ends
    (path,) = (tmp_path / "c").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert cache.get("cloud user project") is None
    path.chmod(0o600)
    cache.drop("cloud user project")
    assert cache.get("cloud user project") is None
    cache.drop("cloud user project")


def test_a_cache_that_can_not_be_written_is_an_empty_one(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache = Cache(str(blocked / "c"))
    cache.put("k", 1, Clock().time() + 999)
    assert cache.get("k") is None

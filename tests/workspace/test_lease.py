"""Leases: one owner at a time, taken over from the dead, by the system's word on one machine and by beats between machines."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from asc_sweeps.errors import LeaseLostError
from asc_sweeps.workspace import lease
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from pathlib import Path
from asc_sweeps.workspace.lease import acquire
from asc_sweeps.workspace.paths import Workspace
root = Path(sys.argv[1])
with acquire(Workspace(root), root / "lease.json"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quick(monkeypatch):
    """Beats and patience of a quick machine."""
    for name, seconds in (("HEARTBEAT", 0.1), ("DEAD_AFTER", 1.0), ("POLL_INTERVAL", 0.02), ("SETTLE_TIME", 0.2)):
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def owner(tmp_path):
    """A process of its own that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def taken(workspace, seconds=20.0):
    """Seconds until the lease is this process's."""
    began = time.monotonic()

    def too_long(who):
        assert time.monotonic() - began < seconds, f"held by {who}"

    with lease.acquire(workspace, workspace.root / "lease.json", too_long):
        return time.monotonic() - began


def from_elsewhere(path):
    """As if the lease that stands at `path` were of another machine."""
    there = json.loads(path.read_text())
    path.write_text(json.dumps({**there, "machine": "another", "owner": "0" * 32}))


def test_of_many_who_want_a_lease_one_has_it_at_a_time(quick, tmp_path):
    inside, most = [], []

    def work():
        with lease.acquire(Workspace(tmp_path), tmp_path / "lease.json"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert {p.name for p in tmp_path.iterdir()} == {".lease.json.lock"}  # nothing else is left behind


def test_the_lease_of_a_killed_process_is_taken_over_at_once(owner, tmp_path):
    assert lease.is_held(tmp_path / "lease.json")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert not lease.is_held(tmp_path / "lease.json")
    assert taken(Workspace(tmp_path)) < 2


def test_a_living_owner_is_waited_for_and_named(owner, tmp_path):
    def refuse(who):
        raise BlockingIOError(who)

    with (
        pytest.raises(BlockingIOError, match=f"process {owner.pid} on .* since 20"),
        lease.acquire(Workspace(tmp_path), tmp_path / "lease.json", refuse),
    ):
        pytest.fail("two owners")


def test_an_owner_on_another_machine_that_beats_is_alive_and_one_that_does_not_is_dead(quick, owner, tmp_path):
    owner.kill()
    owner.wait()
    path = tmp_path / "lease.json"
    from_elsewhere(path)
    assert 1.0 < taken(Workspace(tmp_path)) < 3.0

    path.write_text(json.dumps({"owner": "0" * 32, "machine": "another", "beat": 0}))
    ended = threading.Event()

    def beat():
        for number in range(1, 31):
            path.write_text(json.dumps({"owner": "0" * 32, "machine": "another", "beat": number}))
            time.sleep(0.1)
        ended.set()

    heart = threading.Thread(target=beat)
    heart.start()
    assert taken(Workspace(tmp_path)) > 3.0
    assert ended.is_set()
    heart.join()


def test_a_lease_that_is_no_json_is_dead_after_a_while(quick, tmp_path):
    (tmp_path / "lease.json").write_text('{"owner": ')
    assert 1.0 < taken(Workspace(tmp_path)) < 3.0


def test_an_owner_that_was_stopped_for_long_learns_that_it_is_none_any_more(quick, tmp_path):
    workspace, path = Workspace(tmp_path), tmp_path / "lease.json"
    with lease.acquire(workspace, path) as held:
        held.check()
        path.write_text(json.dumps({"owner": "f" * 32, "machine": "another", "beat": 0}))  # as one who took it over
        time.sleep(0.5)
        with pytest.raises(LeaseLostError, match="taken over by another process"):
            held.check()
    assert json.loads(path.read_text())["owner"] == "f" * 32  # and is left to that one


def test_a_stopped_process_is_taken_over_from_by_its_beats(owner, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_AFTER", 1.0)
    os.kill(owner.pid, signal.SIGSTOP)
    assert 1.0 < taken(Workspace(tmp_path)) < 10.0


def test_an_onlooker_who_could_not_look_counts_no_silence(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "MAX_POLL_GAP", 0.5)
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({"owner": "0" * 32, "machine": "another", "beat": 0}))
    watch = lease._Observer(path)
    assert not watch.is_dead(path.read_bytes())
    time.sleep(1.5)  # longer than an owner may be silent, but nobody looked
    assert not watch.is_dead(path.read_bytes())
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        found = watch.is_dead(path.read_bytes())
        time.sleep(0.05)
    assert found

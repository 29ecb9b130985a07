"""A workspace in an object store: two machines' copies of one truth, on a real S3 server and on a file system without it."""

import contextlib
import logging
import os
import socket
import socketserver
import threading
import time

import pytest

from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.data.catalog import fetch_prepared, prepare_in_workspace
from asc_sweeps.errors import DataError, StoreError, WorkspaceError
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace import lease
from asc_sweeps.workspace.mirrored_storage import MirroredStorage
from asc_sweeps.workspace.object_store import ObjectStore
from asc_sweeps.workspace.paths import RESULT, Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(params=["s3", "file"])
def machines(request, tmp_path, monkeypatch):
    """One workspace as two machines see it, each with a copy of its own."""
    url = f"file://{tmp_path}/store" if request.param == "file" else request.getfixturevalue("bucket")
    found = []
    for name in ("one", "two"):
        monkeypatch.setenv("ASC_SWEEPS_CACHE", str(tmp_path / name))
        found.append(Workspace.at(url))
    assert found[0].root != found[1].root
    return found


def content(workspace, *parts):
    path = workspace.root.joinpath(*parts)
    return path.read_bytes() if path.exists() else None


def test_what_one_machine_writes_another_has_after_it_has_fetched_it(machines):
    one, two = machines
    one.storage.write(one.trial("abc") / "model.pt", b"weights")
    assert content(one, "trials", "abc", "model.pt") == b"weights"
    assert content(two, "trials", "abc", "model.pt") is None
    assert two.storage.read(two.trial("abc") / "model.pt") == b"weights"
    two.storage.fetch(two.trial("abc") / "model.pt", two.trial("abc") / "not there")
    assert content(two, "trials", "abc", "model.pt") == b"weights"
    assert sorted(p.name for p in two.trial("abc").iterdir()) == ["model.pt"]


def test_what_is_removed_or_replaced_for_all_is_so_in_every_copy_that_fetches(machines):
    one, two = machines
    for name in ("failure.json", "checkpoint.json", "pretrain-0001.pt", "pretrain-0002.pt"):
        one.storage.write(one.trial("abc") / name, b"1")
    paths = [two.trial("abc") / name for name in ("failure.json", "checkpoint.json")]
    two.storage.fetch(*paths)
    one.storage.remove(one.trial("abc") / "failure.json", one.trial("abc") / "never there")
    one.storage.write(one.trial("abc") / "checkpoint.json", b"2")
    two.storage.fetch(*paths)
    assert (content(two, "trials", "abc", "failure.json"), content(two, "trials", "abc", "checkpoint.json")) == (
        None,
        b"2",
    )
    two.storage.remove_matching(two.trial("abc"), "*-*.pt")  # files that it never had itself
    assert one.storage.read(one.trial("abc") / "pretrain-0002.pt") is None
    assert one.storage.read(one.trial("abc") / "checkpoint.json") == b"2"


def test_a_file_that_is_replaced_while_it_is_read_comes_whole(machines):
    one, two = machines
    path, texts = one.trial("abc") / "checkpoint.json", [b"1" * 200, b"2" * 100, b"3" * 300]
    one.storage.write(path, texts[0])
    ended = threading.Event()

    def write():
        while not ended.is_set():
            for text in texts:
                one.storage.write(path, text)
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    until, seen = time.monotonic() + 1.5, set()
    while time.monotonic() < until:
        seen.add(two.storage.read(two.trial("abc") / "checkpoint.json"))
    ended.set()
    writer.join()
    assert seen == set(texts)


def test_a_pull_brings_the_records_and_nothing_large_and_brings_results_once(machines):
    one, two = machines
    one.storage.write(one.studies / "s.json", b"{}")
    for signature in ("abc", "def"):
        one.storage.write(one.trial(signature) / RESULT, b"{}")
        one.storage.write(one.trial(signature) / "model.pt", b"weights")
    two.pull()
    here = sorted(p.relative_to(two.root).as_posix() for p in two.root.rglob("*") if p.is_file())
    assert here == ["studies/s.json", "trials/abc/result.json", "trials/def/result.json"]
    first = [(two.trial(s) / RESULT).stat() for s in ("abc", "def")]
    one.storage.remove(one.trial("def") / RESULT)
    two.pull()
    assert (two.trial("abc") / RESULT).stat().st_ino == first[0].st_ino  # not written again
    assert not (two.trial("def") / RESULT).exists()


def test_prepared_data_are_sent_once_and_fetched_once(machines, small_tree, monkeypatch):
    one, two = machines
    told = []
    made = prepare_in_workspace(small_tree, one, lambda what, done, total: told.append((what, done, total)))
    assert told[-1] == ("sending", len(made.filenames), len(made.filenames))
    told.clear()
    prepare_in_workspace(small_tree, one, lambda *row: told.append(row))
    assert told == []
    there = fetch_prepared(two, made.fingerprint)
    assert there.folder.is_relative_to(two.root)
    assert (there.waveforms == made.waveforms).all()
    before = os.stat(there.folder / "waveforms.npy").st_ino
    assert os.stat(fetch_prepared(two, made.fingerprint).folder / "waveforms.npy").st_ino == before
    assert [p.name for p in two.prepared.iterdir() if not p.name.startswith(".")] == [there.folder.name]
    with pytest.raises(DataError, match="no prepared data with fingerprint 0000"):
        fetch_prepared(two, "0" * 32)


def test_a_lease_is_one_machines_at_a_time(machines, monkeypatch):
    for name, seconds in (("HEARTBEAT", 0.2), ("DEAD_AFTER", 2.0), ("POLL_INTERVAL", 0.05), ("SETTLE_TIME", 0.3)):
        monkeypatch.setattr(lease, name, seconds)
    one, two = machines

    def refuse(who):
        raise BlockingIOError(who)

    with (
        lease.acquire(one, one.trial("abc") / "lease.json"),
        pytest.raises(BlockingIOError),
        lease.acquire(two, two.trial("abc") / "lease.json", refuse),
    ):
        pytest.fail("two owners")
    began = time.monotonic()
    with lease.acquire(two, two.trial("abc") / "lease.json", refuse):
        assert time.monotonic() - began < 2  # it was given back, so nobody's death had to be waited for


def test_a_store_that_goes_away_for_a_while_is_waited_for(bucket, s3_server, tmp_path):
    """The store is reached through a door that is closed and opened again."""
    door = Door(s3_server)
    url = bucket.replace(s3_server, f"127.0.0.1:{door.port}")
    files = MirroredStorage(tmp_path, ObjectStore(url, retry_pauses=(1.0, 1.0, 2.0, 2.0)))
    files.write(tmp_path / "a.json", b"1")
    door.close()
    with pytest.raises(StoreError, match=r"a\.json cannot be read"):
        files.without_retries().read(tmp_path / "a.json")
    threading.Timer(2.0, door.open).start()
    files.write(tmp_path / "a.json", b"2")
    assert files.read(tmp_path / "a.json") == b"2"
    door.close()


class Door:
    """A port of loopback that hands everything on to a server while it is open."""

    def __init__(self, server):
        host, _, port = server.partition(":")
        self.server, self.port = (host, int(port)), 0
        self.open()

    def open(self):
        door = self

        class Through(socketserver.BaseRequestHandler):
            def handle(self):
                with socket.create_connection(door.server) as there:
                    one = threading.Thread(target=pour, args=(self.request, there), daemon=True)
                    one.start()
                    pour(there, self.request)

        class Listening(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

        def pour(source, target):
            with contextlib.suppress(OSError):
                while block := source.recv(65536):
                    target.sendall(block)
                target.shutdown(socket.SHUT_WR)

        self.listening = Listening(("127.0.0.1", self.port), Through)
        self.port = self.listening.server_address[1]
        threading.Thread(target=self.listening.serve_forever, daemon=True).start()

    def close(self):
        self.listening.shutdown()
        self.listening.server_close()


def test_a_bucket_that_is_not_there_and_an_address_of_nothing_are_told(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("ASC_SWEEPS_CACHE", str(tmp_path))
    other = bucket.replace("s3://b", "s3://c")
    for url, told in (
        (other, "bucket 'c"),
        ("s3://", "--workspace s3:"),
        ("ftp://host/folder", "--workspace ftp://host/folder: "),
    ):
        with pytest.raises(WorkspaceError, match=told):
            Workspace.at(url).pull()


def test_an_epoch_of_a_trial_asks_a_store_eight_times(bucket, three_scenes, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ASC_SWEEPS_CACHE", str(tmp_path / "copy"))
    monkeypatch.setattr(lease, "SETTLE_TIME", 0.0)
    workspace = Workspace.at(bucket)
    data = prepare_in_workspace(three_scenes, workspace, lambda what, done, total: None)

    def requests(epochs):
        small = {"features.n_mels": 32, "features.hop": 1024, "model.width": 8, "model.mfa": False, "model.fpm": False}
        settings = {**small, "pretrain.epochs": epochs, "pretrain.warmup_epochs": 0, "pretrain.batch_size": 64}
        config = make_config([Setting(name, value) for name, value in settings.items()])
        caplog.clear()
        run_trial(config.with_resolved_data(data.name, data.fingerprint), workspace)
        return sum("HTTP/1.1" in record.message for record in caplog.records)

    with caplog.at_level(logging.INFO, "werkzeug"):
        two, five = requests(2), requests(5)
    assert five - two == 3 * 8
    assert two - 2 * 8 <= 30

"""The resident worker: what every caller of it may rely on, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from client_app.resident.caller import ResidentWorker, Wanted
from client_app.resident.codec import decode, decode_error, encode
from client_app.resident.place import NoPlaceError, Place, Record, open_place
from fcit_app.errors import ConfigError, DataError, RunError
from fcit_app.workers import lives, wait_gone

HERE = Path(__file__).parent


@pytest.fixture
def root(monkeypatch):
    """Folder of all places; none of the residents outlives the test."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    folder = Path(tempfile.mkdtemp(prefix="fcit-test-", dir="/tmp"))
    yield folder
    for place in folder.iterdir():
        open_place(int(place.name.partition("-")[0]), folder).clear()
    # whom a test has struck off the record, too, before the next test counts
    unknown = [psutil.Process(pid) for pid in processes(folder) if psutil.pid_exists(pid)]
    for process in unknown:
        process.kill()
    assert wait_gone(unknown, 10.0)
    shutil.rmtree(folder)


@pytest.fixture
def resident(root):
    """Make a stand-in, as each message's process does."""

    def make(text="a", idle=600.0, maker="toy_worker:make", owner=None):
        return ResidentWorker(
            owner or os.getpid(), Wanted(maker, (text,), idle), lambda: Own(text), root
        )

    return make


class Own:
    """Stands for the worker in this process."""

    def __init__(self, text):
        self.text = text

    def who(self):
        return self.text, os.getpid(), 1, None


def place_of(root):
    return open_place(os.getpid(), root)


def processes(root):
    """All residents that live, whether or not they are written down."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = "client_app.resident.host" in process.cmdline()
            if mine and str(HERE) in process.environ().get("PYTHONPATH", "") and lives(process):
                found += [process.pid] if process.ppid() == os.getpid() else []
        except (psutil.Error, OSError):
            continue
    return found


def test_messages_share_one_worker_and_values_cross_to_the_bit(resident, root):
    values = ([1, 2.5e-310, float("inf")], (True, None, "ü"), {3: {"a": 0.1}}, Path("/x/y"))
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T / 7
    token = resident().token(4)
    (*back, flat, number), named = resident().echo(
        *values, np.float32(array), np.int64(2**60), empty=np.zeros((0, 2)), tokens=(token,)
    )
    assert tuple(back) == values
    assert (flat.dtype, flat.shape, flat.tobytes()) == (array.dtype, (3, 2), array.tobytes())
    flat[0, 0] = 1.0  # writable, as what Flower gives is
    assert (type(number), number) == (np.int64, 2**60)
    assert named["empty"].shape == (0, 2)
    assert named["tokens"][0].count == 12
    assert named["tokens"][0].total.tobytes() == np.full(3, 0.3, np.float32).tobytes()
    assert len(named["tokens"][0].prototypes) == 3
    text, pid, calls, _ = resident().who()
    assert (text, calls) == ("a", 1)
    assert resident().who() == ("a", pid, 2, os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert processes(root) == [pid]


def test_what_cannot_cross_is_refused_before_it_is_sent(resident, root):
    with pytest.raises(TypeError, match=r"builtins\.object cannot be sent"):
        resident().echo(object())
    with pytest.raises(AttributeError):
        resident()._private()
    assert processes(root) == []


def test_errors_cross_with_class_and_text_and_leave_the_worker_be(resident):
    pid = resident().who()[1]
    with pytest.raises(DataError, match=r"^no such file: mend it\.$") as caught:
        resident().refuse("no such file: mend it.")
    assert type(caught.value) is DataError
    assert resident().who()[1] == pid
    with pytest.raises(ConfigError) as wrong:
        resident("wrong").who()
    assert str(wrong.value) == str(ConfigError(wrong.value.problems))
    assert len(wrong.value.problems) == 2


def test_an_unforeseen_error_names_itself_and_the_log_and_the_next_gets_a_fresh_one(resident, root):
    pid = resident().who()[1]
    log = place_of(root).log
    with pytest.raises(RunError) as caught:
        resident().fail()
    assert str(caught.value).startswith("MemoryError: no room on the GPU.")
    assert str(log) in str(caught.value)
    assert "in fail" in log.read_text()  # the traceback
    assert resident().who()[1] != pid
    with pytest.raises(RunError, match="no public method 'nothing'"):
        resident().nothing()


def test_it_sees_the_gpus_of_its_node(resident, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert resident().who()[3] == "3"


def test_messages_at_once_start_one_worker_and_are_served_one_after_the_other(resident, tmp_path):
    path = tmp_path / "notes"
    words = ["a", "b", "c", "d"]
    with ThreadPoolExecutor(len(words)) as pool:
        list(pool.map(lambda word: resident().note(path, word, 0.05), words))
    notes = path.read_text().split()
    assert notes[::4] == notes[2::4] and sorted(notes[::4]) == words
    assert notes[1::2] == ["begins", "ends"] * len(words)
    assert resident().who()[2] == 1


def test_a_message_process_and_this_one_share_it(resident, root):
    script = (
        "import sys; from pathlib import Path\n"
        "from client_app.resident.caller import ResidentWorker, Wanted\n"
        "w = ResidentWorker(int(sys.argv[1]), Wanted('toy_worker:make', ('a',), 600.0), None,"
        " Path(sys.argv[2]))\n"
        "print(w.who()[1], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(os.getpid()), str(root)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=30)[0].split() for process in started]
    assert said == [[str(resident().who()[1]), "False"]] * 2


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_one_that_dies_of_a_call_is_replaced_once(resident, root, tmp_path, deaths):
    before = resident().who()[1]
    if deaths == 1:
        assert resident().die(tmp_path / "deaths", deaths) not in (before, os.getpid())
        return
    with pytest.raises(RunError) as caught:
        resident().die(tmp_path / "deaths", deaths)
    assert (tmp_path / "deaths").read_text() == "xx"
    for part in ("died of the call 'die'", "killed by SIGKILL", str(place_of(root).log)):
        assert part in str(caught.value)
    assert resident().who()[0] == "a"


def test_what_a_dead_resident_left_behind_does_no_harm(resident, root):
    pid = resident().who()[1]
    os.kill(pid, 9)
    assert place_of(root).socket.exists()
    assert resident().who()[1] != pid
    # a process that has nothing to do with us has its number now
    place = place_of(root)
    place.clear()
    place.socket.write_text("no socket")
    place.write(Record(os.getpid(), 1.0, "key", "secret"))
    assert resident().who()[2] == 1
    (place.folder / "resident.json").write_text("{")
    assert resident().who()[2] == 1


def test_another_configuration_replaces_the_worker(resident, root):
    first = resident("a").who()[1]
    second = resident("b").who()
    assert second[0] == "b"
    assert processes(root) == [second[1]] and second[1] != first


def test_it_ends_when_idle_and_comes_back(resident, root):
    pid = resident(idle=0.3).who()[1]
    assert wait_gone([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 5.0)
    assert "no call for 0.3 s" in place_of(root).log.read_text()
    assert resident(idle=0.3).who()[2] == 1


def test_it_ends_within_seconds_of_its_owner_and_leaves_nothing(resident, root):
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pid = resident(owner=owner.pid).who()[1]
    worker, place = psutil.Process(pid), open_place(owner.pid, root)
    assert lives(worker)
    owner.kill()
    assert wait_gone([worker], 5.0)
    owner.wait()
    assert not place.folder.exists()


def test_a_message_that_is_killed_takes_its_work_with_it(resident, root, tmp_path):
    """Otherwise the next message would wait for an answer that nobody wants."""
    script = (
        "import sys; from pathlib import Path\n"
        "from client_app.resident.caller import ResidentWorker, Wanted\n"
        "w = ResidentWorker(int(sys.argv[1]), Wanted('toy_worker:make', ('a',), 600.0), None,"
        " Path(sys.argv[2]))\n"
        "w.note(Path(sys.argv[3]), 'long', 60.0)"
    )
    path = tmp_path / "notes"
    command = [sys.executable, "-c", script, str(os.getpid()), str(root), str(path)]
    message = subprocess.Popen(command)
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    message.kill()
    message.wait()
    started = time.monotonic()
    assert resident().who()[2] == 1
    assert time.monotonic() - started < 10
    assert "has ended" in place_of(root).log.read_text()


def test_where_no_resident_can_live_the_message_works_by_itself(resident, root, caplog):
    folder = place_of(root).folder
    folder.chmod(0o755)
    assert resident().who()[:2] == ("a", os.getpid())
    assert "nobody else can enter" in caplog.text
    folder.rmdir()
    folder.symlink_to(root)
    assert resident().who()[1] == os.getpid()
    folder.unlink()


def test_one_that_does_not_start_costs_only_time(resident, root, caplog, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert resident().who()[:2] == ("a", os.getpid())
    assert "exit status 1; its log is" in caplog.text


def test_a_full_disk_costs_only_time(resident, root, caplog, monkeypatch):
    def full(place, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Place, "write", full)
    assert resident().who()[:2] == ("a", os.getpid())
    assert "No space left on device" in caplog.text


def test_a_path_too_long_for_a_socket(root):
    with pytest.raises(NoPlaceError, match="too long"):
        open_place(1, root / ("x" * 90))


@pytest.mark.parametrize("path", ["subprocess:Popen", "fcit_app.errors:reason_of", "fcit_app.x:Y"])
def test_a_message_makes_nothing_but_values_and_our_dataclasses(path):
    with pytest.raises((TypeError, ImportError)):
        decode((json.dumps(["dataclass", path, {}]).encode(), encode(0)[1]))
    with pytest.raises((TypeError, ImportError)):
        decode_error(encode((path, "text", {})))


def test_only_this_user_can_enter(root):
    place = place_of(root)
    assert [stat.S_IMODE(f.stat().st_mode) for f in (root, place.folder)] == [0o700, 0o700]
    assert place.socket.parent == place.folder


def test_a_stranger_without_the_secret_is_turned_away(resident, root):
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client

    pid = resident().who()[1]
    with pytest.raises(AuthenticationError):
        Client(str(place_of(root).socket), "AF_UNIX", authkey=b"guessed")
    assert resident().who()[1:3] == (pid, 2)


def test_threads_are_not_left_behind(resident):
    before = threading.active_count()
    resident().who()
    assert threading.active_count() == before

"""Clients with their own data: shards in FCIT's layout, or a private task of any JSON."""

from __future__ import annotations

import shutil

import pytest
from app_runs import context_of, events, run_config, serve
from flwr.app import Message, RecordDict
from in_process_grid import InProcessGrid
from toy_folder import change, make_root, training_raw, write_json, write_picture

from client_app.app import app as client_app
from fcit_app.config import parse
from fcit_app.data.folder.write_partition import write_partition
from fcit_app.data.stages import make_stages
from fcit_app.errors import RunError
from fcit_app.runs import RunFolder, read_result
from server_app.app import app as server_app
from server_app.plan import plan_round
from server_app.private_tasks import PrivateTask, with_private_tasks

TASKS = ("imagenet-r", "figureqa")
SHARDS = "partitioned_data/Task-related/seq/1.0"


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All data of two tasks, dealt to three clients."""
    root = make_root(tmp_path_factory.mktemp("whole"), TASKS, train=24, test=2)
    write_partition(root, "task", TASKS, 1.0, 3, 0, minimum=4)
    return root


@pytest.fixture
def own_shards(root, tmp_path):
    """What each of three clients holds: its own shards, and the pictures."""
    folders = []
    for client in range(3):
        folder = tmp_path / f"machine-{client}"
        shutil.copytree(root / "datasets", folder / "datasets")
        for stage in ("Task1", "Task2"):
            (folder / SHARDS / stage).mkdir(parents=True)
            name = f"{SHARDS}/{stage}/client_{client}.json"
            shutil.copy(root / name, folder / name)
        folders.append(folder)
    return folders


@pytest.fixture
def test_root(root, tmp_path):
    """What the server needs: test files and their pictures."""
    folder = tmp_path / "server"
    shutil.copytree(root / "datasets", folder / "datasets")
    shutil.copytree(root / "instructions", folder / "instructions")
    for file in (folder / "instructions").rglob("train*.json"):
        file.unlink()
    return folder


def xrays(folder, count=12):
    """A private task: LLaVA-style JSON and its pictures."""
    records = []
    for number in range(count):
        write_picture(folder / "scans" / f"{number}.png", 500 + number)
        question = f"Which organ does scan {number % 3} show? Name it in Latin."
        records.append(training_raw(f"scans/{number}.png", question, "cor"))
    write_json(folder / "train.json", records)
    return folder


def grid_of(config, own):
    """Three clients, some with a node configuration of their own."""
    grid = InProcessGrid(client_app, 3, run_config=config)
    for node, client in ((node, grid.partition(node)) for node in grid.contexts):
        grid.contexts[node].node_config.update(own.get(client, {}))
    return grid


def config(tiny_folder, out, data_root, **changes):
    settings = {"data__partition": "files", "clients_per_round": 3, "rounds": 1} | changes
    return run_config(tiny_folder, out, data__root=str(data_root), **settings)


def bits(folder):
    arrays, meta = folder.load_state()
    return {name: array.tobytes() for name, array in arrays.items()}, meta["bank"]


def test_each_client_holds_its_own_shards_only(tiny_folder, tmp_path, root, test_root, own_shards):
    together = serve(flat := config(tiny_folder, tmp_path / "together", root), grid_of(flat, {}))
    flat = config(tiny_folder, tmp_path / "apart", test_root)
    own = {client: {"data-root": str(folder)} for client, folder in enumerate(own_shards)}
    apart = serve(flat, grid_of(flat, own))
    assert not events(apart, "client-rejected")
    assert bits(apart) == bits(together)
    assert read_result(apart.path).accuracy == read_result(together.path).accuracy


@pytest.mark.parametrize("tested", [True, False])
def test_a_private_task_is_learnt_beside_the_others(tiny_folder, tmp_path, root, tested):
    data_root = root
    if tested:
        data_root = shutil.copytree(root, tmp_path / "server")
        write_picture(data_root / "private/radiology/p/1.png", 7)
        write_json(
            data_root / "private/radiology/test.json", [training_raw("p/1.png", "Which?", "cor")]
        )
    flat = config(tiny_folder, tmp_path / "run", data_root, clients_per_round=2)
    own = {
        "data-root": str(xrays(tmp_path / "x-rays")),
        "data-task": "radiology",
        "data-stages": 2,
    }
    folder = serve(flat, grid_of(flat, {1: own}))
    assert not events(folder, "client-rejected")
    result, name = read_result(folder.path), "private/radiology"
    assert result.tasks == [*TASKS, name] if tested else list(TASKS)
    assert [len(row) for row in result.accuracy] == ([1, 3] if tested else [1, 2])
    trained = {
        task: count for subspace in result.subspaces for task, count in subspace.task_counts.items()
    }
    first, second = events(folder, "round-started")
    assert first["participants"] == [0, 2]
    assert ("private/radiology" in second.get("lessons", [])) == (1 in second["participants"])
    assert (name in trained) == (1 in second["participants"])
    assert 1 in second["participants"]
    assert trained[name] == 12
    report = (folder.path / "report.html").read_text()
    assert ("not evaluated on the server: private/radiology" in report) != tested
    notes = " ".join(event["text"] for event in events(folder, "note"))
    assert ("is learnt, but not evaluated on the server" in notes) != tested


def test_a_private_task_is_learnt_from_the_mini_benchmark_on(tiny_folder, tmp_path):
    flat = run_config(tiny_folder, tmp_path / "run", clients_per_round=3, tasks="figureqa")
    own = {"data-root": str(xrays(tmp_path / "lungs"))}
    folder = serve(flat, grid_of(flat, {0: own}))
    assert not events(folder, "client-rejected")
    (event,) = events(folder, "stage-started")
    assert event["private"] == {"0": "private/lungs"}


def hello(node_config, run_config):
    context = context_of(run_config, **{"partition-id": 3, "num-partitions": 5}, **node_config)
    message = Message(RecordDict(), 7, "query.hello")
    return client_app(message=message, context=context)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data-root": "here"}, "data-root = 'here' is not allowed; allowed: the absolute path"),
        ({"data-root": "{}/none"}, "none' is not allowed; allowed: the absolute path of a folder"),
        ({"data-root": "{}/empty"}, "holds neither partitioned_data or instructions"),
        ({"data-task": "x"}, "not allowed without data-root"),
        ({"data-root": "{}/rays", "data-task": "a+b"}, "data-task = 'a+b' is not allowed"),
        ({"data-root": "{}/rays", "data-stages": "0,x"}, "data-stages = '0,x' is not allowed"),
        ({"data-root": "{}/shards", "data-task": "x"}, "which is in FCIT's layout"),
        ({"data-root": "{}/shards"}, "the run uses the mini benchmark"),
    ],
)
def test_a_wrong_node_configuration_is_told(tmp_path, tiny_folder, given, told):
    InProcessGrid(client_app, 1)
    xrays(tmp_path / "rays", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "shards/partitioned_data").mkdir(parents=True)
    given = {key: value.format(tmp_path) for key, value in given.items()}
    with pytest.raises(Exception, match="client 3: ") as caught:
        hello(given, run_config(tiny_folder, tmp_path / "run"))
    assert told in str(caught.value)


def test_a_node_without_its_folder_is_left_out_and_named(tiny_folder, tmp_path, root, own_shards):
    flat = config(tiny_folder, tmp_path / "run", root, clients_per_round=2, tasks="figureqa")
    gone = tmp_path / "gone"
    folder = serve(flat, grid_of(flat, {1: {"data-root": str(gone)}}))
    (note,) = (e["text"] for e in events(folder, "note") if "takes no part" in e["text"])
    for part in ("node 1001", "client 1", "data-root", str(gone), "--node-config"):
        assert part in note
    assert events(folder, "round-started")[0]["participants"] == [0, 2]
    assert events(folder, "run-finished")
    # A folder that fits another run: without instructions there is nothing to deal from.
    wrong = {**flat, "out": str(tmp_path / "other"), "data.partition": "seeded"}
    folder = serve(wrong, grid_of(wrong, {1: {"data-root": str(own_shards[1])}}))
    assert "has no instructions to deal from" in str(events(folder, "note"))


def test_stages_beyond_the_run_and_stages_without_clients(tiny_folder, tmp_path, root):
    flat = config(tiny_folder, tmp_path / "run", root)
    own = {"data-root": str(xrays(tmp_path / "rays"))}
    with pytest.raises(RunError, match=r"in stage 9 \(data-stages\), but the run has 2 stages"):
        serve(flat, grid_of(flat, {0: own | {"data-stages": "2,9"}}))
    with pytest.raises(RunError, match=r"in stage 1 \(imagenet-r\) only 2 of 3 clients take part"):
        serve(flat, grid_of(flat, {0: own | {"data-stages": "2"}}))
    assert not (tmp_path / "run").exists()


def test_a_bad_private_record_costs_the_client_not_the_run(tiny_folder, tmp_path, root):
    folder = xrays(tmp_path / "rays")
    change(folder / "train.json", 3, image="../../etc/passwd")
    own = {0: {"data-root": str(folder)}}
    flat = config(tiny_folder, tmp_path / "refuse", root, tasks="figureqa")
    refused = serve(flat, grid_of(flat, own))
    (rejection,) = events(refused, "client-rejected")
    assert rejection["client"] == 0
    assert f"{folder}/train.json, record 3 (counted from 0): its image path" in rejection["reason"]
    flat = {**flat, "out": str(tmp_path / "skip"), "data.on-bad-sample": "skip"}
    skipped = serve(flat, grid_of(flat, own))
    assert not events(skipped, "client-rejected")
    counts = [s.task_counts.get("private/rays") for s in read_result(skipped.path).subspaces]
    assert 11 in counts


def test_a_run_with_a_private_task_goes_on(tiny_folder, tmp_path, root):
    own = {0: {"data-root": str(xrays(tmp_path / "rays"))}}
    flat = config(tiny_folder, tmp_path / "run", root, tasks="figureqa", rounds=2)
    whole = serve(flat, grid_of(flat, own))
    broken = {**flat, "out": str(tmp_path / "broken")}
    grid = grid_of(broken, own)
    grid.fail = lambda client, message: "error" if len(grid.sent_of("train")) > 3 else None
    with pytest.raises(RunError):
        serve(broken, grid)
    again = {**broken, "resume": broken["out"]}
    with pytest.raises(RunError, match=r"Client 0 had the private task \['private/rays', \[\]\]"):
        server_app(grid_of(again, {}), context_of(again))
    server_app(grid_of(again, own), context_of(again))
    assert bits(whole) == bits(RunFolder(tmp_path / "broken"))
    assert read_result(tmp_path / "broken").accuracy == read_result(whole.path).accuracy


def test_private_tasks_in_every_scenario():
    own = {1: PrivateTask("private/a", (2,)), 4: PrivateTask("private/b")}
    for preset in ("mini", "mini-het"):
        config = parse({"preset": preset, "clients-per-round": 5})
        stages = make_stages(config)
        for stage, plain in zip(with_private_tasks(stages, own, ""), stages, strict=True):
            assert stage.tasks == plain.tasks
            plan = plan_round(config, range(9), stage, 1)
            assert (1 in plan.participants) <= (stage.number == 2)
            for slot, client in enumerate(plan.participants):
                expected = {1: ("private/a",), 4: ("private/b",)}.get(client)
                lesson = expected or plain.timetable.lesson(slot, client)
                assert plan.lessons[client] == lesson
                assert plan.tasks[client] == lesson

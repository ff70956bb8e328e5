"""Whole runs in which clients of one stage learn different tasks."""

from __future__ import annotations

from collections import defaultdict

import pytest
from app_runs import altered, events, run_config, serve
from in_process_grid import InProcessGrid

from client_app.app import app as client_app
from fcit_app.config import FEDERATED_METHODS, parse
from fcit_app.data.lesson import parse_lesson
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import lesson_samples
from fcit_app.errors import ConfigError
from fcit_app.runs.progress import RunProgress

# Stage 2 brings two new tasks at once and one that returns; stage 3 brings nothing new.
FILE = """
[[stages]]
slots = ["arxivqa", "figureqa", "arxivqa"]
[[stages]]
slots = ["clevr-math", "super-clevr", "figureqa"]
[[stages]]
slots = ["figureqa", "super-clevr", "super-clevr"]
"""
TASKS = ["arxivqa", "figureqa", "clevr-math", "super-clevr"]
ROUNDS = {"tasks": "", "rounds": 2, "clients_per_round": 3}


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "slots.toml"
    file.write_text(FILE)
    return str(file)


@pytest.fixture(scope="module")
def finished(tiny_folder, scenario, tmp_path_factory):
    """A run of DISCO."""
    out = tmp_path_factory.mktemp("run") / "disco"
    return serve(run_config(tiny_folder, out, scenario=scenario, **ROUNDS))


def learnt(folder):
    """Lessons of the run: stage to the pairs of client and lesson that were trained in it."""
    found = defaultdict(set)
    for event in events(folder, "client-replied"):
        found[event["stage"]].add((event["client"], event["lesson"]))
    return found


def shard(folder, client, lesson):
    config = parse(folder.read_config())
    return len(lesson_samples(load_benchmark(config), config, parse_lesson(lesson), client, 5))


def bits(folder):
    arrays, meta = folder.load_state()
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}, meta["bank"]


def test_each_task_has_one_subspace_and_returns_to_it(finished):
    of_lesson = defaultdict(set)
    for event in events(finished, "client-replied"):
        of_lesson[event["lesson"]].add(event["subspace"])
    assert set(of_lesson) == set(TASKS)
    assert all(len(subspaces) == 1 for subspaces in of_lesson.values())
    subspaces = finished.read_result().subspaces
    assert [list(s.task_counts) for s in subspaces] == [
        [task] for s in subspaces for task in of_lesson if of_lesson[task] == {s.id}
    ]
    assert [s.first_stage for s in subspaces] == [1, 1, 2, 2]


def test_rows_grow_by_the_new_tasks_and_not_where_all_return(finished):
    result = finished.read_result()
    assert result.tasks == TASKS
    assert [len(row) for row in result.accuracy] == [2, 4, 4]
    assert result.scenario == "slots.toml"
    (started,) = events(finished, "run-started")
    assert started["columns"] == [2, 4, 4]
    assert None not in (result.last, result.avg, result.backward_transfer, result.forgetting)


def test_the_ledger_tells_who_learnt_what(finished):
    stages = events(finished, "stage-started")
    assert stages[2]["lessons"] == {"slots": ["figureqa", "super-clevr", "super-clevr"]}
    for event in events(finished, "round-started"):
        assert event["lessons"] == stages[event["stage"] - 1]["lessons"]["slots"]
        told = dict(zip(event["participants"], event["lessons"], strict=True))
        replied = {
            e["client"]: e["lesson"]
            for e in events(finished, "client-replied")
            if (e["stage"], e["round"]) == (event["stage"], event["round"])
        }
        assert replied == told
    progress = RunProgress()
    lines = [progress.consume(event) or "" for event in finished.ledger.read()]
    assert any("stage 3/3 figureqa + super-clevr" in line for line in lines)
    assert any(" · super-clevr · loss " in line for line in lines)


def test_a_client_with_two_lessons_in_a_stage_counts_for_both(finished):
    pairs = learnt(finished)
    two = [
        client
        for found in pairs.values()
        for client in {c for c, _ in found}
        if len({lesson for c, lesson in found if c == client}) == 2
    ]
    assert two, "no client was drawn into slots of two tasks; choose another seed"
    expected = defaultdict(int)
    for found in pairs.values():
        for client, lesson in found:
            expected[lesson] += shard(finished, client, lesson)
    _, meta = finished.load_state()
    for summary, kept in zip(
        finished.read_result().subspaces, meta["bank"]["subspaces"], strict=True
    ):
        (task,) = summary.task_counts
        assert summary.samples == kept["count"] == expected[task]


def test_neither_repeating_nor_reordering_changes_a_bit(finished, tiny_folder, tmp_path, scenario):
    config = run_config(tiny_folder, tmp_path / "again", scenario=scenario, **ROUNDS)
    grid = InProcessGrid(
        client_app,
        [3, 1, 0, 4, 2],
        nodes=[77, 5, 923, 12, 400],
        reorder=lambda replies: sorted(replies, key=lambda r: -r.metadata.src_node_id),
        run_config=config,
    )
    again = serve(config, grid)
    assert bits(again) == bits(finished)
    assert again.read_result().accuracy == finished.read_result().accuracy


@pytest.mark.parametrize("method", FEDERATED_METHODS)
def test_every_method_learns_by_clients(tiny_folder, tmp_path, method):
    file = tmp_path / "clients.toml"
    file.write_text(
        '[[stages]]\nclients = {"0-2" = "arxivqa", others = ["dvqa", "iconqa"]}\n'
        '[[stages]]\neveryone = "arxivqa"'
    )
    settings = {"tasks": "", "scenario": str(file), "clients_per_round": 5}
    folder = serve(run_config(tiny_folder, tmp_path / "run", method=method, **settings))
    schools = {(client, "arxivqa") for client in range(3)}
    assert learnt(folder) == {
        1: schools | {(3, "dvqa+iconqa"), (4, "dvqa+iconqa")},
        2: schools | {(3, "arxivqa"), (4, "arxivqa")},
    }
    result = folder.read_result()
    assert [len(row) for row in result.accuracy] == [3, 3]
    counts = defaultdict(int)
    for subspace in result.subspaces:
        for task, count in subspace.task_counts.items():
            counts[task] += count
    assert counts["arxivqa"] == 40 + sum(shard(folder, c, "arxivqa") for c in range(3))
    assert counts["dvqa"] == sum(shard(folder, c, "dvqa") for c in (3, 4))


def test_the_official_slots_and_draw(tiny_folder, tmp_path):
    settings = {"tasks": "", "scenario": "het", "client_draw": "official", "clients_per_round": 5}
    small = {"data__test_samples": 1, "train__steps": 1}
    folder = serve(run_config(tiny_folder, tmp_path / "run", **small, **settings))
    result = folder.read_result()
    assert [len(row) for row in result.accuracy] == [5, 7, 8, 8, 8, 8, 8, 8]
    assert [len(s.task_counts) for s in result.subspaces] == [1] * 8
    assert [s.first_stage for s in result.subspaces] == [1] * 5 + [2] * 2 + [3]


def test_a_client_that_says_it_learnt_something_else_is_left_out(tiny_folder, tmp_path, scenario):
    def other_task(client, message, reply):
        metrics = reply.content["metrics"]
        if metrics.get("examples/arxivqa"):
            metrics["examples/figureqa"] = metrics["examples/arxivqa"]
            metrics["examples/arxivqa"] = 0
        return reply

    settings = {"tasks": "", "scenario": scenario, "clients_per_round": 3}
    config = run_config(tiny_folder, tmp_path / "run", **settings)
    folder = serve(config, InProcessGrid(altered(other_task), 5, run_config=config))
    (started, *_) = events(folder, "round-started")
    told = dict(zip(started["participants"], started["lessons"], strict=True))
    rejected = events(folder, "client-rejected")
    assert {event["client"] for event in rejected} == {c for c in told if told[c] == "arxivqa"}
    assert all("the tasks' examples add up to 0" in event["reason"] for event in rejected)
    kept = [task for s in folder.read_result().subspaces for task in s.task_counts]
    assert sorted(kept) == sorted(TASKS[1:])


def test_a_file_that_says_what_hom_does_gives_its_bits(tiny_folder, tmp_path):
    hom = serve(run_config(tiny_folder, tmp_path / "hom", tasks="imagenet-r,figureqa"))
    file = tmp_path / "hom.toml"
    for number, way in enumerate(('slots = ["{}", "{}"]', 'clients.others = "{}"')):
        rows = [way.replace("{}", name) for name in ("imagenet-r", "figureqa")]
        file.write_text("".join(f"[[stages]]\n{row}\n" for row in rows))
        out = tmp_path / str(number)
        same = serve(run_config(tiny_folder, out, tasks="", scenario=str(file)))
        assert bits(same) == bits(hom)
        results = [folder.read_result() for folder in (same, hom)]
        assert results[0].accuracy == results[1].accuracy
        assert results[0].subspaces == results[1].subspaces


def test_what_does_not_fit_is_told_before_anything_is_made(tiny_folder, tmp_path, scenario):
    config = run_config(tiny_folder, tmp_path / "run", scenario=scenario, tasks="dvqa")
    with pytest.raises(ConfigError) as caught:
        serve(config)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "tasks",
        "clients-per-round",
    ]
    assert not (tmp_path / "run").exists()

"""Whole runs on instruction data without pictures: a text base, and a seeing one beside others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app_runs import events, run_config, serve
from in_process_grid import InProcessGrid
from tiny_llava import ANSWERS, QUESTIONS
from tiny_models import save_tiny_model
from toy_folder import training_raw, write_json, write_picture

from client_app.app import app as client_app
from fcit_app.data.folder.benchmark import FolderBenchmark
from fcit_app.errors import ConfigError, DataError, FcitError
from fcit_app.evaluate.evaluation import evaluate_saved
from fcit_app.evaluate.question import ask
from fcit_app.evaluate.saved_run import open_saved_run
from fcit_app.runs import read_result

TASK = "private/letters"
TEXT = {"projector": "frozen", "clients_per_round": 2, "rounds": 1}


def letters(count: int, start: int = 0) -> list[dict]:
    """Records of text alone."""
    return [
        {
            "conversations": [
                {"from": "human", "value": f"{number}: {QUESTIONS[number % len(QUESTIONS)]}"},
                {"from": "gpt", "value": ANSWERS[number % len(ANSWERS)]},
            ]
        }
        for number in range(start, start + count)
    ]


@pytest.fixture(autouse=True)
def short_answers(monkeypatch):
    monkeypatch.setattr("fcit_app.data.folder.benchmark.GENERATION_LENGTH", 3)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def model(request, tmp_path_factory) -> Path:
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def root(tmp_path) -> Path:
    """Test records of the task, and no more."""
    write_json(tmp_path / "data" / TASK / "test.json", letters(3, 100))
    return tmp_path / "data"


def grid_of(config, folders):
    """Clients that each hold records of the task."""
    grid = InProcessGrid(client_app, len(folders), run_config=config)
    for node, folder in zip(grid.contexts, folders, strict=True):
        own = {"data-root": str(folder), "data-task": "letters"}
        grid.contexts[node].node_config.update(own)
    return grid


def test_clients_with_texts_of_their_own_and_a_text_base(model, root, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        write_json(folder / "mine.json", letters(8, 20 * number))
    config = run_config(model, tmp_path / "run", tasks=TASK, data__root=str(root), **TEXT)
    folder = serve(config, grid_of(config, folders))
    assert not events(folder, "client-rejected")
    result = read_result(folder.path)
    assert result.tasks == [TASK]
    assert [s.task_counts for s in result.subspaces] == [{TASK: 16}]
    run = open_saved_run(folder.path)
    assert run.tasks == (TASK,)
    (scores,) = evaluate_saved(run, run.tasks, "test", ("softmax",), tmp_path / "out")
    assert scores.scores[0].accuracy == result.accuracy[0][0]
    assert ask(run, None, "Which letter?").weights == {0: 1.0}
    picture = tmp_path / "1.png"
    write_picture(picture, 1)
    with pytest.raises(DataError, match="a model of text alone"):
        ask(run, picture, "Which letter?")


def test_texts_dealt_from_a_folder_by_a_scenario(model, root, tmp_path):
    write_json(root / TASK / "train.json", letters(24))
    scenario = tmp_path / "two.toml"
    scenario.write_text(f'[[stages]]\neveryone = "{TASK}"\n')
    settings = {
        "tasks": "",
        "scenario": str(scenario),
        "data__root": str(root),
        "data__min_samples": 2,
    }
    folder = serve(run_config(model, tmp_path / "run", **settings, **TEXT))
    counts = [subspace.task_counts for subspace in read_result(folder.path).subspaces]
    assert all(set(tasks) == {TASK} for tasks in counts)
    assert 2 < sum(tasks[TASK] for tasks in counts) < 24
    centralized = {**settings, "method": "centralized", "projector": "frozen"}
    folder = serve(run_config(model, tmp_path / "all", **centralized))
    assert read_result(folder.path).tasks == [TASK]


def test_text_and_pictures_in_one_private_task_of_a_seeing_base(tiny_folder, root, tmp_path):
    own = tmp_path / "own"
    pictured = [training_raw(f"{n}.png", QUESTIONS[n % 4], "B") for n in range(6)]
    for number in range(6):
        write_picture(own / f"{number}.png", number)
    write_json(own / "mine.json", [*letters(6), *pictured])
    config = run_config(
        tiny_folder, tmp_path / "run", tasks=TASK, data__root=str(root), clients_per_round=1
    )
    folder = serve(config, grid_of(config, [own]))
    assert not events(folder, "client-rejected")
    assert [s.task_counts for s in read_result(folder.path).subspaces] == [{TASK: 12}]


def test_what_a_text_base_cannot_have_is_told_at_once(model, root, tmp_path):
    wrong = {"tasks": f"figureqa,{TASK}", "identity__token": "image", "data__root": str(root)}
    with pytest.raises(ConfigError, match="4 problems") as caught:
        serve(run_config(model, tmp_path / "run", **wrong))
    text = str(caught.value)
    assert "projector: 'shared' is not allowed for the base" in text
    assert "identity.token: 'image' is not allowed for the base" in text
    assert "tasks: figureqa ask about pictures, which the base" in text
    assert "lacks instructions/FigureQA/test.json" in text
    assert not (tmp_path / "run").exists()


def test_a_private_task_that_is_not_there(tiny_folder, root, tmp_path):
    config = run_config(tiny_folder, tmp_path / "run", tasks=TASK)
    with pytest.raises(ConfigError, match=r"'private/letters' is not allowed without data\.root"):
        serve(config)
    with pytest.raises(ConfigError, match=r"lacks private/other/test\.json"):
        serve({**config, "tasks": "private/other", "data.root": str(root)})
    with pytest.raises(ConfigError, match=r"lacks private/letters/train\.json"):
        serve({**config, "data.root": str(root), "method": "centralized"})
    with pytest.raises(DataError, match=r"no training records of private/letters.*data-root"):
        FolderBenchmark(root, 0, 8, 2).training_samples(TASK)


def test_tokens_of_pictures_need_pictures(tiny_folder, root, tmp_path):
    own = tmp_path / "own"
    write_json(own / "mine.json", letters(6))
    settings = {"tasks": TASK, "clients_per_round": 1, "identity__token": "text+image"}
    config = run_config(tiny_folder, tmp_path / "run", data__root=str(root), **settings)
    with pytest.raises(FcitError, match=r"token needs a picture.*private/letters is text"):
        serve(config, grid_of(config, [own]))


def test_a_picture_for_a_text_base_costs_the_client_its_rounds(model, root, tmp_path):
    own = tmp_path / "own"
    write_picture(own / "1.png", 1)
    write_json(own / "mine.json", [*letters(6), training_raw("1.png", "q", "a")])
    other = tmp_path / "other"
    write_json(other / "mine.json", letters(6))
    config = run_config(model, tmp_path / "run", tasks=TASK, data__root=str(root), **TEXT)
    folder = serve(config, grid_of(config, [own, other]))
    (rejected,) = events(folder, "client-rejected")
    assert rejected["client"] == 0
    assert "has a picture, but the base" in json.dumps(rejected)

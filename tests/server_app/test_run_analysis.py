"""What a run leaves in analysis.json, and that the switches change what they should."""

from __future__ import annotations

import pytest
from app_runs import events, run_config, serve

from fcit_app.config import parse
from fcit_app.data.catalogue import TASK_NAMES
from fcit_app.data.stages import make_stages
from fcit_app.evaluate.activation_summary import ActivationSummary
from fcit_app.evaluate.evaluator import Evaluator, TaskScore
from fcit_app.evaluate.general import SkillScores
from fcit_app.model.bank import Bank
from fcit_app.runs import RunFolder, read_analysis
from fcit_app.runs.progress import RunProgress
from server_app.analysis import Analysis
from server_app.app import tasks_asked

TASKS = ["imagenet-r", "figureqa", "ocr-vqa"]


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    """The same run, plain and with everything asked."""
    out = tmp_path_factory.mktemp("runs")
    everything = {"evaluate__transfer": True, "evaluate__unseen": "dvqa,tabmwp"}
    order = ",".join(TASKS)
    return {
        "plain": serve(run_config(tiny_folder, out / "plain", tasks=order)),
        "asked": serve(run_config(tiny_folder, out / "asked", tasks=order, **everything)),
        "finetune": serve(run_config(tiny_folder, out / "finetune", method="finetune")),
    }


def test_asking_more_changes_neither_result_nor_model(runs):
    plain, asked = (runs[name].read_result() for name in ("plain", "asked"))
    timeless = {"seconds"}
    assert plain.model_dump(exclude=timeless) == asked.model_dump(exclude=timeless)
    (first, _), (second, _) = (runs[name].load_state() for name in ("plain", "asked"))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_the_columns_of_a_plain_run(runs):
    analysis, result = read_analysis(runs["plain"].path), runs["plain"].read_result()
    assert (analysis.tasks, analysis.unseen) == (TASKS, [])
    assert analysis.forward_transfer is analysis.general is None
    for stage, row in zip(analysis.stages, result.accuracy, strict=True):
        assert stage.accuracy == [*row, *[None] * (3 - len(row))]
        assert stage.seen == len(row) == stage.stage
        assert stage.transfer_accuracy is stage.transfer_gain is None
        assert stage.unseen_accuracy == []


def test_the_columns_of_a_run_asked_everything(runs):
    analysis, result = read_analysis(runs["asked"].path), runs["asked"].read_result()
    assert analysis.unseen == ["dvqa", "tabmwp"]
    assert analysis.zero_shot[:3] == result.zero_shot
    for stage, row in zip(analysis.stages, result.accuracy, strict=True):
        assert stage.accuracy[: stage.seen] == row
        later = [*stage.accuracy[stage.seen :], *stage.unseen_accuracy]
        assert None not in later
        assert stage.transfer_accuracy == pytest.approx(sum(later) / len(later))
    gains = [analysis.stages[j - 1].accuracy[j] - result.zero_shot[j] for j in (1, 2)]
    assert analysis.forward_transfer == pytest.approx(sum(gains) / 2)


def test_the_activation_picture(runs):
    analysis = read_analysis(runs["asked"].path)
    for stage in analysis.stages:
        count = stage.stage
        assert stage.subspaces == list(range(count))
        assert [row.task for row in stage.activation] == [*TASKS, "dvqa", "tabmwp"]
        for place, row in enumerate(stage.activation):
            assert sum(row.weights) == pytest.approx(1, abs=1e-5)
            own = row.strongest[place] * 100 if place < count else None
            assert row.routing_accuracy == own, "task t opened subspace t"
    last = analysis.stages[-1]
    rows = last.activation[:3]
    assert last.routing_accuracy == pytest.approx(sum(row.routing_accuracy for row in rows) / 3)
    assert last.entropy == pytest.approx(sum(row.entropy for row in rows) / 3)
    assert analysis.stages[0].normalised_entropy is None


def test_a_method_without_tokens_routes_nothing(runs):
    for stage in read_analysis(runs["finetune"].path).stages:
        assert (
            stage.activation is stage.subspaces is stage.routing_accuracy is stage.entropy is None
        )


def test_progress_counts_the_tasks_asked(runs):
    (started,) = events(runs["asked"], "run-started")
    assert started["columns"] == [5, 5, 5]
    progress, ledger = RunProgress(), runs["asked"].ledger.read()
    for event in ledger:
        progress.consume(event)
    assert progress.finished


def test_the_analysis_grows_stage_by_stage(tiny_folder, tmp_path, monkeypatch):
    lengths = []
    write = RunFolder.write_analysis

    def spy(self, analysis):
        write(self, analysis)
        lengths.append((len(read_analysis(self.path).stages), len(events(self, "stage-evaluated"))))

    monkeypatch.setattr(RunFolder, "write_analysis", spy)
    serve(run_config(tiny_folder, tmp_path / "run"))
    assert lengths == [(1, 1), (2, 2)]


@pytest.mark.parametrize(("after", "measured"), [("last", [None, 2]), ("all", [1, 2])])
def test_general_ability_before_and_after(tiny_folder, tmp_path, monkeypatch, after, measured):
    """Only mini has a skill set; what it is asked is tested with the evaluation."""
    banks = []

    def general(self, bank: Bank) -> SkillScores:
        banks.append(len(bank.subspaces))
        return SkillScores({"read": 10.0 * len(bank.subspaces)}, 50.0, 25.0)

    monkeypatch.setattr(Evaluator, "general", general)
    monkeypatch.setattr("fcit_app.config.contradictions._no_skill_set", lambda config: [])
    settings = {"evaluate__general": True, "evaluate__general_after": after}
    analysis = read_analysis(serve(run_config(tiny_folder, tmp_path / "run", **settings)).path)
    assert banks == [0, *(count for count in measured if count)]
    assert analysis.general.mean == 0
    found = [stage.general and stage.general.mean for stage in analysis.stages]
    assert found == [count and 10.0 * count for count in measured]


@pytest.mark.parametrize("transfer", [False, True])
def test_rest_is_what_a_run_never_trains(transfer):
    config = parse(
        {"tasks": "dvqa,iconqa", "evaluate.unseen": "rest", "evaluate.transfer": transfer}
    )
    rest = tuple(task for task in TASK_NAMES if task not in ("dvqa", "iconqa"))
    seen = ("dvqa", "iconqa") if transfer else ("dvqa",)
    assert tasks_asked(config, make_stages(config), 1) == seen + rest
    assert tasks_asked(config, make_stages(config), 2) == ("dvqa", "iconqa", *rest)
    capability = parse({"setting": "capability", "evaluate.unseen": "rest"})
    assert len(tasks_asked(capability, make_stages(capability), 4)) == len(TASK_NAMES)


def test_a_subspace_of_several_tasks_is_right_for_each_of_them():
    analysis = Analysis(["dvqa", "iconqa"], [], [0.0, 0.0], None)
    activation = ActivationSummary((0.5, 0.5), (0.25, 0.75), 0.5)
    scores = [TaskScore(task, 1.0, activation) for task in ("dvqa", "iconqa")]
    analysis.add(scores, 2, [0, 4], {0: {"dvqa"}, 4: {"dvqa", "iconqa"}}, None)
    (stage,) = analysis.result().stages
    assert [row.routing_accuracy for row in stage.activation] == [100, 75]

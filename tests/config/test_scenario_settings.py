"""The scenario's settings: what is allowed, and what does not go together."""

from __future__ import annotations

from fcit_app.config import PRESETS, flatten, parse, relative_paths, resolve_paths
from fcit_app.data.stages import make_stages
from fcit_app.errors import ConfigError
from fcit_app.preflight import foreseen


def problems(clients=None, **changes):
    flat = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    try:
        parse(flat, [lambda values: foreseen(values, clients)])
    except ConfigError as error:
        return list(error.problems)
    return []


def test_mini_het_does_the_work_of_two_hom_runs():
    def steps(preset):
        config = parse({"preset": preset})
        rounds = config.rounds * len(make_stages(config))
        return rounds * config.clients_per_round * config.train.steps

    assert steps("mini-het") == 2 * steps("mini")
    changed = {key for key in PRESETS["mini"] if PRESETS["mini"][key] != PRESETS["mini-het"][key]}
    assert changed == {"scenario", "clients-per-round", "train.steps"}
    assert problems(5, preset="mini-het") == []
    assert problems(5, preset="mini-het", setting="capability") == []


def test_het_needs_one_participant_a_slot():
    (only,) = problems(scenario="het")
    assert only.startswith("clients-per-round: 2 is not allowed; allowed with scenario het: 5")
    assert "clients-per-round=5, or use preset mini-het" in only
    (few,) = problems(4, preset="mini-het")
    assert "--clients 5" in few
    assert problems(method="zero-shot", scenario="het") == []


def test_an_order_of_stages_belongs_to_hom():
    (only,) = problems(preset="mini-het", tasks="dvqa,iconqa")
    assert only.startswith("tasks: 'dvqa,iconqa' is not allowed with scenario het")
    assert "set scenario=hom" in only


def test_a_name_that_is_neither(tmp_path):
    (only,) = problems(scenario="hett")
    assert only == (
        "scenario: 'hett' is not allowed; allowed: one of hom, het, FILE.toml, FILE.json. "
        "Did you mean 'het'?"
    )
    (only,) = problems(scenario=str(tmp_path / "nowhere.toml"))
    assert "nowhere.toml cannot be read" in only
    (only,) = problems(client_draw="oficial")
    assert only.endswith("Did you mean 'official'?")


def test_a_files_mistakes_come_with_the_others(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('[[stages]]\nslots = ["figureq", "dvqa"]\n[[stages]]\nclients = {"7" = "dvqa"}')
    found = problems(5, scenario=str(file), rounds=0, tasks="dvqa", model__name="/nowhere")
    assert [problem.split(":")[0] for problem in found] == [
        "rounds",
        "model.name",
        "tasks",
        "scenario",
        "scenario",
    ]
    file.write_text('[[stages]]\nclients = {"7" = "dvqa", others = "iconqa"}')
    (only,) = problems(5, scenario=str(file))
    assert "there is no client 7; the 5 clients count from 0 to 4" in only
    assert problems(8, scenario=str(file)) == []


def test_the_file_is_found_from_any_directory(tmp_path):
    config = parse({"scenario": "s.toml"})
    assert resolve_paths(config, tmp_path).scenario == str(tmp_path / "s.toml")
    assert resolve_paths(parse({"scenario": "hom"}), tmp_path).scenario == "hom"
    (only,) = relative_paths(flatten(config))
    assert only.startswith("scenario: 's.toml' is a relative path. Give an absolute path")
    assert list(relative_paths(flatten(resolve_paths(config, tmp_path)))) == []

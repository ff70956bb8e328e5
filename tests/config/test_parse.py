"""Parsing is complete, lossless, and reports every problem at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcit_app.config import METHODS, PRESETS, flatten, parse, parse_assignments
from fcit_app.config.schema import AGGREGATORS, KEYS, field_descriptions
from fcit_app.data.catalogue import CAPABILITIES, TASK_NAMES, stages
from fcit_app.errors import ConfigError


def problems(**flat: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse({key.replace("__", ".").replace("_", "-"): value for key, value in flat.items()})
    return caught.value.problems


VALID = st.fixed_dictionaries(
    {"setting": st.just("task")},  # whatever the preset's: `tasks` below are names of tasks
    optional={
        "preset": st.sampled_from(sorted(PRESETS)),
        "method": st.sampled_from(METHODS),
        "tasks": st.lists(st.sampled_from(TASK_NAMES), unique=True).map(",".join),
        "aggregator": st.sampled_from([*AGGREGATORS, "package.module:Name", "m:N"]),
        "aggregator.arguments": st.sampled_from(["", "eta=0.01, tau=1e-3", 'a="b, c=d"']),
        "beta": st.floats(1e-6, 1e6),
        "seed": st.integers(0, 2**32 - 1),
        "rounds": st.integers(1, 1000),
        "out": st.sampled_from(["runs/x", "/tmp/a b", "répertoire"]),
        "activation": st.sampled_from(["softmax", "argmax", "cosine", "concat"]),
        "projector": st.sampled_from(["shared", "frozen", "per-subspace"]),
        "identity.token": st.sampled_from(["text", "image", "text+image"]),
        "identity.prototypes": st.integers(0, 64),
        "identity.tau": st.floats(0, 1, exclude_min=True),
        "identity.count": st.sampled_from(["stage", "round"]),
        "evaluate.transfer": st.booleans(),
        "evaluate.general": st.booleans(),
        "evaluate.unseen": st.sampled_from(["", "rest", "dvqa", "dvqa,tabmwp"]),
        "evaluate.routing": st.sampled_from(["sample", "batch"]),
        "evaluate.scoring": st.sampled_from(["paper", "official"]),
        "train.lr": st.floats(1e-8, 1.0),
        "train.rank": st.integers(1, 512),
        "train.epochs": st.integers(0, 9),
        "train.gradient-checkpointing": st.booleans(),
        "model.quantization": st.sampled_from(["none", "nf4", "int8"]),
        "model.prompt": st.sampled_from(["template", "vicuna-v1"]),
        "identity.encoder": st.sampled_from(
            ["hashed-ngrams", "clip:/a:b", "sentence-transformers:x"]
        ),
    },
)


@given(VALID)
def test_flatten_and_parse_are_inverse(flat):
    config = parse(flat)
    assert parse(flatten(config)) == config
    assert tuple(flatten(config)) == KEYS
    assert flatten(config).items() >= {k: v for k, v in flat.items() if k != "out"}.items()


@given(VALID)
def test_text_from_the_command_line_means_the_same_as_typed_values(flat):
    texts = parse_assignments(f"{key}={value}" for key, value in flat.items())
    assert parse(texts) == parse(flat)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_complete_and_valid(preset):
    assert set(PRESETS[preset]) == set(KEYS) - {"preset"}
    config = parse({"preset": preset})
    given_values = {k: v for k, v in PRESETS[preset].items() if k != "out"}
    assert flatten(config).items() >= given_values.items()
    assert config.out == f"runs/{preset}/disco"


def test_the_word_preset_means_the_presets_value():
    assert parse(dict.fromkeys(KEYS, "preset")) == parse({})
    assert parse({"train.steps": "preset", "preset": "mini-smoke"}).train.steps == 3


def test_every_key_says_what_it_may_be():
    assert all(field_descriptions().values())


def test_all_problems_are_reported_at_once():
    found = problems(
        gibberish=1,
        train__rnk=8,
        lr=0.1,
        preset="miny",
        method="disko",
        beta=0,
        train__rank=0,
        train__lr=float("nan"),
        rounds="2.5",
        train__steps=True,
        identity__tau=1.5,
        identity__encoder="clip:",
        tasks="imagenet,figureqa,figureqa",
        client_timeout="inf",
    )
    assert len(found) == 15
    for text in (
        "gibberish: there is no such key. Keys are: preset, method",
        "train.rnk: there is no such key. Did you mean 'train.rank'?",
        "lr: there is no such key. Did you mean 'train.lr'?",
        "preset: 'miny' is not allowed; allowed: one of mini, mini-smoke, mini-het, paper-",
        "Did you mean 'disco'?",
        "beta: 0 is not allowed; allowed: a number above 0.",
        "train.rank: 0 is not allowed; allowed: a whole number, at least 1.",
        "train.lr: nan is not allowed",
        "rounds: '2.5' is not allowed",
        "train.steps: True is not allowed",
        "identity.tau: 1.5 is not allowed; allowed: a number above 0 and at most 1.",
        "identity.encoder: 'clip:' is not allowed; allowed: hashed-ngrams, ",
        "tasks: 'imagenet' is not allowed",
        "tasks: figureqa given more than once",
        "client-timeout: 'inf' is not allowed",
    ):
        assert any(text in problem for problem in found), text


@pytest.mark.parametrize("value", ["FedAvg", "fedavg ", "module.Name", "a:b:c", "a..b:C", ":C", 3])
def test_an_aggregator_is_a_known_name_or_a_dotted_path(value):
    (problem,) = problems(aggregator=value)
    assert problem.startswith(f"aggregator: {value!r} is not allowed; allowed: one of fedavg, ")
    assert "bulyan, package.module:ClassName." in problem


def test_the_arguments_key_is_hinted_at():
    for key in ("arguments", "aggregator-arguments", "aggregator.argument"):
        with pytest.raises(ConfigError, match=r"Did you mean 'aggregator\.arguments'\?"):
            parse({key: "eta=1"})


def test_checks_see_sound_values_only_and_add_their_problems():
    seen = {}

    def check(values):
        seen.update(values)
        return ["one", "two"]

    flat = {"train.lr": "1e-2", "beta": "x", "out": 3, "nonsense": 1, "aggregator.arguments": "a=1"}
    with pytest.raises(ConfigError) as caught:
        parse(flat, [check, lambda values: []])
    assert caught.value.problems[-2:] == ("one", "two")
    assert len(caught.value.problems) == 5
    assert set(seen) == set(KEYS) - {"beta", "out"}
    assert (seen["train.lr"], seen["aggregator.arguments"]) == (0.01, "a=1")
    assert parse({}, [lambda values: []]) == parse({})


@pytest.mark.parametrize("key", ["beta", "identity.temperature", "train.lr", "train.scaling"])
@pytest.mark.parametrize("value", [0, -1, "x", "", True, float("inf")])
def test_positive_numbers(key, value):
    with pytest.raises(ConfigError, match=f"1 problem in the configuration:\n  - {key}: "):
        parse({key: value})


def test_stages_follow_the_setting_unless_named():
    assert parse({}).stages == stages("task")
    assert parse({"setting": "capability"}).stages == CAPABILITIES
    assert parse({"tasks": " dvqa , iconqa"}).stages == ("dvqa", "iconqa")
    assert parse({"setting": "capability", "tasks": "math,chart"}).stages == ("math", "chart")
    assert "tasks: 'math' is not allowed" in problems(tasks="math")[0]
    assert "tasks: 'dvqa' is not allowed" in problems(tasks="dvqa", setting="capability")[0]


def test_default_folder_names_preset_and_method():
    assert parse({"method": "blind", "preset": "mini-smoke"}).out == "runs/mini-smoke/blind"
    assert parse({"out": "elsewhere"}).out == "elsewhere"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse({}).train.rank = 4


def test_assignments_need_a_key_and_occur_once():
    with pytest.raises(ConfigError) as caught:
        parse_assignments(["rank", "=3", "seed=1", "seed=2"])
    assert len(caught.value.problems) == 3
    assert parse_assignments(["out=a=b", " seed = 1 "]) == {"out": "a=b", "seed": "1"}


def test_further_checks_see_only_what_is_not_known_to_be_wrong():
    seen = []

    def check(values):
        seen.append(set(values))
        return ["one more"]

    with pytest.raises(ConfigError) as caught:
        parse({"preset": "miny", "tasks": "imagenet", "beta": 0, "seed": 3}, [check])
    assert len(caught.value.problems) == 4
    assert caught.value.problems[-1] == "one more"
    assert seen == [set(KEYS) - {"preset", "tasks", "beta"}]


def test_tasks_to_be_met_unseen():
    assert parse({"evaluate.unseen": "dvqa, tabmwp"}).evaluate.unseen == ("dvqa", "tabmwp")
    assert parse({"evaluate.unseen": "rest"}).evaluate.unseen == ("rest",)
    found = problems(evaluate__unseen="dvqq,rest,dvqa,dvqa", evaluate__transfer="on")
    assert [problem.split(":")[0] for problem in found] == [
        "evaluate.transfer",
        *("evaluate.unseen",) * 3,
    ]
    assert "one of true, false" in found[0]
    assert "Did you mean 'dvqa'?" in found[1]
    assert "or rest alone" in found[2]

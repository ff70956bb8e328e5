"""An aggregator and its arguments are judged before anything starts, all problems at once."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_clients import (
    adapter_of,
    as_bits,
    client_app,
    empty_bank,
    flower_log,
    make_disco,
    new_adapter,
    play,
    stock_alone,
)
from flwr.app import Array, ArrayRecord
from flwr.serverapp import strategy as stock
from flwr.serverapp.strategy import FedAvg, Strategy
from in_process_grid import InProcessGrid

from fcit_app.config import PRESETS, parse
from fcit_app.config import schema as config_schema
from fcit_app.errors import ConfigError
from strategies.aggregators import AGGREGATORS, check_aggregator, make_aggregator
from strategies.arguments import FIXED, read_arguments


class PartialStep(FedAvg):
    """Goes a part of the way from the old adapter to the clients' mean."""

    def __init__(self, part: float = 0.5, names: list[str] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if part > 1:
            raise ValueError("part must be at most 1")
        self.part = part
        self.names = names

    def configure_train(self, server_round, arrays, config, grid):
        self._old = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        mean, metrics = super().aggregate_train(server_round, replies)
        if mean is None:
            return None, None
        moved = {
            key: Array(
                (1 - self.part) * self._old[key].numpy() + self.part * np.asarray(mean[key].numpy())
            )
            for key in mean
        }
        return ArrayRecord(moved), metrics


class NeedsMore(FedAvg):
    def __init__(self, temperature: float, model: NoSuchName = None) -> None:  # noqa: F821
        super().__init__()


class Abstract(Strategy):
    pass


PATH = f"{__name__}:PartialStep"


def problems(aggregator: str, arguments: str = "", clients: int = 9, **others: Any) -> list[str]:
    values = {
        "aggregator": aggregator,
        "aggregator.arguments": arguments,
        "clients-per-round": clients,
        "method": "disco",
    }
    return check_aggregator(values | others)


def test_the_names_of_the_schema_are_the_tables():
    assert tuple(AGGREGATORS) == config_schema.AGGREGATORS


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_named_aggregator_can_be_made_without_arguments(name):
    assert problems(name) == []
    with flower_log() as lines:
        one, other = make_aggregator(name)(), make_aggregator(name)()
    assert lines == []
    assert one is not other
    assert type(one).__name__.lower() == name
    assert (one.fraction_train, one.min_train_nodes, one.min_available_nodes) == (1.0, 1, 1)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_defaults_differ_from_flowers_only_where_the_table_says(name):
    mine = make_aggregator(name)()
    stocks = type(mine)()
    ours = {"fraction_evaluate", "min_train_nodes", "min_evaluate_nodes", "min_available_nodes"}
    ours |= AGGREGATORS[name].defaults.keys() | {"server_opt"}
    for key, value in vars(stocks).items():
        assert key in ours or vars(mine)[key] == value, key
    for key, value in AGGREGATORS[name].defaults.items():
        assert getattr(mine, key) == value != getattr(stocks, key)


def test_arguments_reach_the_instance():
    strategy = make_aggregator("fedyogi", "eta=0.25, tau=1e-4,beta_1 = 0")()
    assert (strategy.eta, strategy.tau, strategy.beta_1, strategy.beta_2) == (0.25, 1e-4, 0, 0.99)
    assert make_aggregator("krum", "num_malicious_nodes=2")().num_malicious_nodes == 2
    custom = make_aggregator(PATH, 'part=0.25, names=["a", "b,c"]')()
    assert (custom.part, custom.names) == (0.25, ["a", "b,c"])
    make = make_aggregator(PATH, "names=[]")
    assert make().names is not make().names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" ", {}),
        ("a=1", {"a": 1}),
        ("a=-1e-3, b=True,c=None ,", {"a": -1e-3, "b": True, "c": None}),
        ("a='x, y=2', b=[1, (2, 3)]", {"a": "x, y=2", "b": [1, (2, 3)]}),
    ],
)
def test_arguments_are_read(text, expected):
    assert read_arguments(text) == (expected, [])


@pytest.mark.parametrize(
    "text", ["eta", "eta=", "=1", "eta=0.1 tau=1", "eta=1) or g(x=2", "eta=1)(2", "**{}", "a\0=1"]
)
def test_what_is_no_pair_cannot_be_read(text):
    (problem,) = problems("fedyogi", text)
    assert problem.startswith("aggregator.arguments: ")
    assert "Write name=value, separated by commas" in problem


def test_no_code_is_run():
    (problem,) = problems("fedyogi", "eta=__import__('os').getpid(), tau=1e-3")
    assert "eta = __import__('os').getpid() cannot be read. Write a number, True" in problem


@pytest.mark.parametrize(
    ("aggregator", "arguments", "text"),
    [
        ("fedyogi", "etta=1", "fedyogi has no argument 'etta'. Did you mean 'eta'? Its arguments"),
        ("fedyogi", "etta=1", "are beta_1, beta_2, eta, tau."),
        ("fedavg", "eta=1", "fedavg has no argument 'eta'. It takes no arguments."),
        ("fedadam", "eta='0.1'", "eta = '0.1' is not allowed for fedadam; allowed: float."),
        ("fedadam", "eta=True", "eta = True is not allowed for fedadam; allowed: float."),
        ("fedadam", "eta=1e999", "eta = inf is not allowed for fedadam; allowed: float."),
        ("krum", "num_malicious_nodes=1.0", "1.0 is not allowed for krum; allowed: int."),
        ("fedadam", "eta=-0.1", "eta = -0.1 is not allowed for fedadam; allowed: a number above 0"),
        ("fedadagrad", "tau=0", "tau = 0 is not allowed for fedadagrad; allowed: a number above 0"),
        ("fedavgm", "server_momentum=1", "allowed: a number from 0 to below 1."),
        ("fedprox", "proximal_mu=-1", "allowed: a number of at least 0."),
        ("fedtrimmedavg", "beta=0.5", "allowed: a number from 0 to below 0.5."),
        ("bulyan", "num_malicious_nodes=-1", "allowed: a whole number of at least 0."),
        ("multikrum", "num_nodes_to_select=0", "allowed: a whole number of at least 1."),
        ("fedyogi", "eta=1, eta=2", "eta"),
        ("fedyogi", "eta_l=1", "eta_l cannot be given: Flower's class never uses it"),
        ("fedyogi", "fraction_train=0.5", "fraction_train cannot be given: the clients of a round"),
        ("krum", "min_train_nodes=3", "are drawn by the run's own sampling (clients-per-round)."),
        ("fedavg", "weighted_by_key='x'", "weighted_by_key cannot be given: the names of what"),
        ("bulyan", "selection_rule=None", "a function cannot be written in the configuration."),
        (PATH, "part='x'", "part = 'x' is not allowed for test_aggregators:PartialStep"),
        (PATH, "prt=1", "Did you mean 'part'? Its arguments are names, part."),
        (PATH, "names=[1]", "allowed: list[str] | None."),
        (PATH, "fraction_train=1", "fraction_train cannot be given"),
    ],
)
def test_wrong_arguments(aggregator, arguments, text):
    (problem,) = problems(aggregator, arguments)
    assert problem.startswith("aggregator.arguments: ")
    assert text in problem


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("argument", sorted(FIXED.keys() - {"selection_rule"}))  # Bulyan alone
def test_what_is_ours_stays_ours(aggregator, argument):
    (problem,) = problems(aggregator, f"{argument}=1")
    assert f"{argument} cannot be given: {FIXED[argument]}." in problem


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("no_such_package.x:Y", ["'no_such_package.x' cannot be imported (ModuleNotFoundError"]),
        (f"{__name__}:PartialStp", ["Did you mean 'PartialStep'? It has Abstract, FedAvg, "]),
        (f"{__name__}:problems", ["'problems' is no Strategy class of test_aggregators."]),
        ("math:pi", ["'pi' is no Strategy class of math. It has none."]),
        (f"{__name__}:Abstract", [f"aggregator: {__name__}:Abstract cannot be made: TypeError"]),
        (f"{__name__}:NeedsMore", ["needs temperature. Its arguments are model, temperature."]),
        ("strategies:Disco", ["needs inner.", "needs new_adapter."]),
        ("fedyog", ["'fedyog' is not allowed; it must be one of fedavg,"]),
    ],
)
def test_classes_that_will_not_do(path, texts):
    found = problems(path)
    assert len(found) == len(texts)
    for problem, text in zip(found, texts, strict=True):
        assert text in problem


def test_a_constructors_own_objection_is_told():
    (problem,) = problems(PATH, "part=2")
    assert problem == f"aggregator: {PATH} cannot be made: ValueError: part must be at most 1"


def test_a_module_that_fails_is_told(tmp_path, monkeypatch):
    (tmp_path / "broken_strategy.py").write_text("1 / 0")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "ZeroDivisionError: division by zero" in problems("broken_strategy:X")[0]


def test_types_only_a_type_checker_knows_are_left_to_the_class():
    assert problems(f"{__name__}:NeedsMore", "temperature=1.0, model='any'") == []


@pytest.mark.parametrize(
    ("aggregator", "arguments", "fewest"),
    [
        ("krum", "", 3),
        ("krum", "num_malicious_nodes=1", 5),
        ("multikrum", "", 3),
        ("multikrum", "num_nodes_to_select=4", 4),
        ("multikrum", "num_malicious_nodes=2, num_nodes_to_select=4", 7),
        ("bulyan", "", 3),
        ("bulyan", "num_malicious_nodes=1", 7),
        ("fedtrimmedavg", "", 3),
        ("fedtrimmedavg", "beta=0.2", 5),
        ("fedtrimmedavg", "beta=0.0", 1),
        ("fedmedian", "", 1),
        ("fedyogi", "", 1),
    ],
)
def test_too_few_clients_a_round(aggregator, arguments, fewest):
    assert problems(aggregator, arguments, clients=fewest) == []
    if fewest > 1:
        (problem,) = problems(aggregator, arguments, clients=fewest - 1)
        assert f"{aggregator} needs at least {fewest} clients a round (" in problem
        assert f"but clients-per-round = {fewest - 1}." in problem
    assert problems(aggregator, arguments, clients=1, method="blind") == []


def test_the_fewest_clients_are_the_fewest_that_do_what_the_name_says():
    """The rules of the table against Flower's code: one stray client, and who is heard."""

    def stray(array, client, name):
        return np.full_like(array, 1000.0 if client == 0 else client)

    def merged(name, clients, arguments=""):
        app = client_app(count=lambda client: 1, train=stray)
        grid, disco = InProcessGrid(app, clients), make_disco(make_aggregator(name, arguments))
        adapter = adapter_of(play(disco, grid, empty_bank()), 0)
        return adapter["b.lora_A.weight"][0] if adapter else None

    for name in ("krum", "multikrum"):
        assert merged(name, 5, "num_malicious_nodes=1") < 5
    assert merged("fedtrimmedavg", 3) < 5
    assert merged("bulyan", 7, "num_malicious_nodes=1") < 7
    assert merged("krum", 2) == 1000.0  # of two, always the first
    assert merged("fedtrimmedavg", 2) == 500.5  # nobody left out
    assert merged("bulyan", 2) is None


def test_everything_wrong_is_told_together():
    with pytest.raises(ConfigError) as caught:
        parse(
            {"aggregator": "krum", "aggregator.arguments": "malicious=1", "beta": 0, "seeed": 1},
            [check_aggregator],
        )
    texts = ("seeed", "beta: 0", "krum has no argument 'malicious'")
    assert len(caught.value.problems) == 3
    for problem, text in zip(caught.value.problems, texts, strict=True):
        assert text in problem
    with pytest.raises(ConfigError) as caught:
        parse({"aggregator": "krum", "clients-per-round": "many"}, [check_aggregator])
    assert len(caught.value.problems) == 1  # not measured against a number nobody gave
    with pytest.raises(ConfigError) as caught:
        parse({"aggregator": "fedyogy", "aggregator.arguments": "eta=1"}, [check_aggregator])
    (problem,) = caught.value.problems
    assert "Did you mean 'fedyogi'?" in problem
    assert "package.module:ClassName" in problem


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_passes(preset):
    parse({"preset": preset}, [check_aggregator])


def test_the_factory_refuses_with_the_same_words():
    with pytest.raises(ConfigError, match="no argument 'etta'") as caught:
        make_aggregator("fedyogi", "etta=1, tau='x'")
    assert len(caught.value.problems) == 2


def test_a_class_of_ones_own_is_an_aggregator_like_any_other():
    app = client_app(lambda client, stage: client % 2)
    disco = make_disco(make_aggregator(PATH, "part=0.25"))
    bank = play(disco, InProcessGrid(app, 4), empty_bank(), rounds=3)
    for identifier, clients in ((0, [0, 2]), (1, [1, 3])):
        alone = stock_alone(
            lambda: PartialStep(0.25, min_train_nodes=1, min_available_nodes=1),
            app,
            clients,
            new_adapter(identifier),
            3,
        )
        for name, array in adapter_of(bank, identifier).items():
            assert array.tobytes() == alone[name].tobytes()
    whole = play(make_disco(make_aggregator(PATH, "part=1.0")), InProcessGrid(app, 4), empty_bank())
    mean = play(make_disco("FedAvg"), InProcessGrid(app, 4), empty_bank())
    assert as_bits(whole) == as_bits(mean)


def test_the_documentations_example_works(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "aggregators.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "partial_step.py").write_text(code)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert problems("partial_step:PartialStep", "part=0.25") == []
    app = client_app()
    banks = [
        play(make_disco(make_aggregator(path, "part=0.25")), InProcessGrid(app, 3), empty_bank())
        for path in ("partial_step:PartialStep", PATH)
    ]
    assert as_bits(banks[0]) == as_bits(banks[1])


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_documentation_names_it_with_its_defaults(name):
    page = (Path(__file__).parents[2] / "docs" / "aggregators.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == type(make_aggregator(name)()).__name__
    for key, value in AGGREGATORS[name].defaults.items():
        assert f"`{key}={value}`" in cells[3]
    assert bool(cells[3]) == bool(AGGREGATORS[name].defaults)


def test_flowers_other_strategies_are_within_reach_by_their_path():
    make = make_aggregator("flwr.serverapp.strategy:QFedAvg", "client_learning_rate=0.1")
    assert isinstance(make(), stock.QFedAvg)


@pytest.mark.parametrize(("method", "scenario"), [("disco", "hom"), ("finetune", "het")])
def test_many_enough_clients_for_one_adapter(method, scenario):
    values = {"method": method, "scenario": scenario, "setting": "task", "clients-per-round": 5}
    assert check_aggregator({**values, "aggregator": "krum"}) == []


def test_slots_that_learn_different_tasks_leave_a_robust_aggregator_too_few():
    values = {"method": "disco", "scenario": "het", "setting": "task", "clients-per-round": 5}
    for name in ("krum", "multikrum", "bulyan", "fedtrimmedavg"):
        (problem,) = check_aggregator({**values, "aggregator": name})
        assert f"{name} needs at least 3 clients a subspace" in problem
        assert "in stage 1 of scenario het arxivqa is learnt in 1 slot only" in problem
    assert check_aggregator({**values, "aggregator": "fedadam"}) == []

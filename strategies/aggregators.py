"""Flower's strategies by the name a user gives them; each merges the work on one part of a model.

Anybody's own Strategy has a name too: its dotted path, ``package.module:ClassName``.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.serverapp.strategy import (
    Bulyan,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
    Strategy,
)

from fcit_app.config import FEDERATED_METHODS, Scalar
from fcit_app.config.nearest import nearest
from fcit_app.data.catalogue import Setting
from fcit_app.data.lesson import lesson_text
from fcit_app.data.scenario_file import load_scenario
from fcit_app.errors import ConfigError
from strategies.arguments import FIXED, KEY, check_arguments, parameters_of, read_arguments
from strategies.quiet import without_warnings
from strategies.snapshot import unkeepable


@dataclass(frozen=True)
class Aggregator:
    """What a name stands for.

    Parameters
    ----------
    strategy : type[Strategy]
        Flower's class.
    defaults : Mapping[str, Any]
        Where they differ from Flower's; the comment says why.
    fewest : Callable[[Any], int]
        From an instance to the fewest clients that it can merge as its name promises.
    fewest_rule : str
        How that number comes about, and what happens with fewer.
    """

    strategy: type[Strategy]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fewest: Callable[[Any], int] = lambda strategy: 1
    fewest_rule: str = ""


def _fewest_to_trim(strategy: Any) -> int:
    # Flower leaves out int(beta * n) clients at either end; 0 is a wish to leave out none.
    return math.ceil(1.0 / max(strategy.beta, 1e-6)) if strategy.beta > 0.0 else 1


AGGREGATORS: dict[str, Aggregator] = {
    "fedavg": Aggregator(FedAvg),
    # Flower's momentum of 0 is FedAvg; 0.9 overshoots in the three rounds that a stage lasts.
    "fedavgm": Aggregator(FedAvgM, {"server_momentum": 0.3, "server_learning_rate": 0.7}),
    # A client's round moves an adapter's numbers by hundredths. At Flower's tau of 0.001 the server
    # moves all of them equally far, the noise as well; and its memories, ten rounds and a hundred,
    # outlast a stage. (docs/LOG.md has the trials.)
    "fedadam": Aggregator(FedAdam, {"tau": 0.1, "beta_1": 0.2, "beta_2": 0.5}),
    "fedyogi": Aggregator(FedYogi, {"eta": 0.1, "tau": 0.1, "beta_1": 0.2}),
    "fedadagrad": Aggregator(FedAdagrad, {"tau": 0.1}),
    # Flower's mu of 0 is FedAvg.
    "fedprox": Aggregator(FedProx, {"proximal_mu": 0.01}),
    "fedmedian": Aggregator(FedMedian),
    # Flower's 0.2 trims nothing below five clients.
    "fedtrimmedavg": Aggregator(
        FedTrimmedAvg,
        {"beta": 0.34},
        _fewest_to_trim,
        "1 / beta, rounded up; with fewer it leaves out nobody's work",
    ),
    "krum": Aggregator(
        Krum,
        {},
        lambda strategy: 2 * strategy.num_malicious_nodes + 3,
        "2 * num_malicious_nodes + 3; with fewer it cannot tell who agrees with whom",
    ),
    # Flower's one selected client is Krum.
    "multikrum": Aggregator(
        MultiKrum,
        {"num_nodes_to_select": 2},
        lambda strategy: max(
            2 * strategy.num_malicious_nodes + 3,
            strategy.num_malicious_nodes + strategy.num_nodes_to_select,
        ),
        "2 * num_malicious_nodes + 3 and num_malicious_nodes + num_nodes_to_select; with fewer it "
        "cannot tell who agrees with whom",
    ),
    "bulyan": Aggregator(
        Bulyan,
        {},
        lambda strategy: 4 * strategy.num_malicious_nodes + 3,
        "4 * num_malicious_nodes + 3; with fewer it merges nothing",
    ),
}
"""Name to strategy; a new name is one more line (and one in ``fcit_app.config.schema``)."""

# All nodes of a view take part, a subspace may have a single client, and evaluation is not
# Flower's federated one. Given to every class that takes them.
_SAMPLING: dict[str, Any] = {
    "fraction_train": 1.0,
    "fraction_evaluate": 0.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 0,
    "min_available_nodes": 1,
}

_UNUSED = {"eta_l": "Flower's class never uses it; the clients' own rate is train.lr"}

# Of the named aggregators' arguments; Flower itself takes any number.
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "eta": (lambda v: v > 0, "a number above 0"),
    "tau": (lambda v: v > 0, "a number above 0 (0 would divide by 0)"),
    "beta_1": (lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "beta_2": (lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "server_learning_rate": (lambda v: v > 0, "a number above 0"),
    "server_momentum": (lambda v: 0 <= v < 1, "a number from 0 to below 1"),
    "proximal_mu": (lambda v: v >= 0, "a number of at least 0"),
    "beta": (lambda v: 0 <= v < 0.5, "a number from 0 to below 0.5"),
    "num_malicious_nodes": (lambda v: v >= 0, "a whole number of at least 0"),
    "num_nodes_to_select": (lambda v: v >= 1, "a whole number of at least 1"),
}


def check_aggregator(values: Mapping[str, Scalar]) -> list[str]:
    """Say what is wrong with the aggregator of a configuration, before anything starts.

    Parameters
    ----------
    values : Mapping[str, Scalar]
        Flat keys of the run configuration; what is not there is not judged.

    Returns
    -------
    list[str]
        A sentence per problem: an unknown aggregator, a class that is none, an argument that its
        constructor does not take, too few clients a round. Empty if all is well.
    """
    name, text = values.get("aggregator"), values.get(KEY, "")
    if not isinstance(name, str) or not isinstance(text, str):
        return []
    made, problems = _prepare(name, text)
    clients, method = values.get("clients-per-round"), values.get("method")
    if made is None or not isinstance(clients, int) or method not in FEDERATED_METHODS:
        return problems
    known = AGGREGATORS.get(name)
    fewest = known.fewest(made()) if known else 1
    if known and clients < fewest:
        problems.append(
            f"aggregator: {name} needs at least {fewest} clients a round ({known.fewest_rule}), "
            f"but clients-per-round = {clients}. Raise clients-per-round, or change the aggregator "
            "or its arguments."
        )
    elif known and fewest > 1 and method == "disco":
        problems += _too_few_a_subspace(name, fewest, known.fewest_rule, values)
    return problems


def _too_few_a_subspace(
    name: str, fewest: int, rule: str, values: Mapping[str, Scalar]
) -> list[str]:
    """Judge slots with different lessons: each subspace merges its own clients only."""
    setting: Setting = "capability" if values.get("setting") == "capability" else "task"
    try:
        scenario = load_scenario(str(values.get("scenario", "hom")), setting)
    except ConfigError:
        return []  # told by whoever judges scenarios
    for number, stage in enumerate(scenario.stages, start=1):
        for lesson, count in Counter(stage.slots).items():
            if count < fewest:
                return [
                    f"aggregator: {name} needs at least {fewest} clients a subspace ({rule}), but "
                    f"in stage {number} of scenario {scenario.name} {lesson_text(lesson)} is "
                    f"learnt in {count} slot{'' if count == 1 else 's'} only. Use another "
                    "aggregator, scenario=hom, or a method with one adapter."
                ]
    return []


def make_aggregator(name: str, arguments: str = "") -> Callable[[], Strategy]:
    """Give the factory of a Flower strategy.

    Parameters
    ----------
    name : str
        One of `AGGREGATORS`, or the dotted path ``package.module:ClassName`` of a Strategy.
    arguments : str
        Arguments of its constructor, ``name=value`` separated by commas.

    Returns
    -------
    Callable[[], Strategy]
        Makes a fresh strategy, with its own state, at each call.

    Raises
    ------
    ConfigError
        With one problem for each thing that is wrong.
    """
    made, problems = _prepare(name, arguments)
    if made is None:
        raise ConfigError(problems)
    return made


def _prepare(name: str, text: str) -> tuple[Callable[[], Strategy] | None, list[str]]:
    """Make the factory, tried once; None and the reasons if there is none."""
    known = AGGREGATORS.get(name)
    strategy, problems = (known.strategy, []) if known else _import(name)
    arguments, unread = read_arguments(text)
    problems += unread
    if strategy is None:
        return None, problems
    parameters = parameters_of(strategy)
    settings = {**(known.defaults if known else {}), **arguments}
    fixed = {**FIXED, **(_UNUSED if known else {})}
    problems += check_arguments(name, parameters, settings, fixed)
    if known and not problems:
        problems += _out_of_range(name, arguments)
    if problems:
        return None, problems
    settings |= {key: value for key, value in _SAMPLING.items() if key in parameters}

    def make() -> Strategy:
        with without_warnings():
            # Copied: no two instances may share as much as a list.
            return strategy(**copy.deepcopy(settings))

    try:
        problems = [f"aggregator: {problem}." for problem in unkeepable(make())]
    except Exception as error:  # whatever somebody's constructor raises
        return None, [f"aggregator: {name} cannot be made: {type(error).__name__}: {error}"]
    return (None if problems else make), problems


def _out_of_range(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Name the arguments of the right type with a value that makes no sense."""
    problems = []
    for argument, value in arguments.items():
        fits, allowed = _RANGES[argument]
        if not fits(value):
            problems.append(
                f"{KEY}: {argument} = {value!r} is not allowed for {name}; allowed: {allowed}."
            )
    return problems


def _import(path: str) -> tuple[type[Strategy] | None, list[str]]:
    """Find a class by its dotted path; None and the reason if it is no Strategy."""
    module_name, colon, class_name = path.partition(":")
    if not colon:
        return None, [
            f"aggregator: {path!r} is not allowed; it must be one of {', '.join(AGGREGATORS)}, or "
            f"the path package.module:ClassName of a Strategy.{nearest(path, list(AGGREGATORS))}"
        ]
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever somebody's module raises
        return None, [
            f"aggregator: {module_name!r} cannot be imported ({type(error).__name__}: {error}). "
            "Install the package that holds it in this environment, or put the file into "
            "strategies/ and name it strategies.file:ClassName."
        ]
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Strategy)):
        names = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Strategy) and value is not Strategy
        ]
        listed = f"It has {', '.join(sorted(names))}." if names else "It has none."
        return None, [
            f"aggregator: {class_name!r} is no Strategy class of {module_name}."
            f"{nearest(class_name, names)} {listed}"
        ]
    return found, []

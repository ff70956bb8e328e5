"""Arguments of a strategy's constructor, written as one text: read, and checked against it.

Flower's run configuration holds scalars under declared keys only, so there cannot be a key for
every argument of every strategy.
"""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from fcit_app.config.nearest import nearest

KEY = "aggregator.arguments"

_CLIENTS = "the clients of a round are drawn by the run's own sampling (clients-per-round)"
_WIRE = "the names of what travels are fixed (num-examples, arrays, config)"
_FUNCTION = "a function cannot be written in the configuration"

FIXED: Mapping[str, str] = {
    "fraction_train": _CLIENTS,
    "fraction_evaluate": "evaluation is not Flower's federated one",
    "min_train_nodes": _CLIENTS,
    "min_evaluate_nodes": "evaluation is not Flower's federated one",
    "min_available_nodes": _CLIENTS,
    "weighted_by_key": _WIRE,
    "arrayrecord_key": _WIRE,
    "configrecord_key": _WIRE,
    "train_metrics_aggr_fn": _FUNCTION,
    "evaluate_metrics_aggr_fn": _FUNCTION,
    "selection_rule": _FUNCTION,
}
"""Arguments of Flower's strategies that nobody can give, and why."""


def read_arguments(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read ``name=value`` pairs separated by commas; values are Python literals.

    Parameters
    ----------
    text : str
        For instance ``eta=0.01, tau=1e-3``; nothing is run.

    Returns
    -------
    arguments : dict
        Name to value, of the pairs that could be read.
    problems : list[str]
        One sentence for each of the others.
    """
    how = "Write name=value, separated by commas, for instance eta=0.01, tau=1e-3."
    try:
        call = ast.parse(f"_({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    # Anything but one call of plain pairs: text that closes the bracket and goes on.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return {}, [f"{KEY}: {text!r} cannot be read. {how}"]
    problems = [f"{KEY}: {ast.unparse(bare)!r} has no name. {how}" for bare in call.args]
    arguments: dict[str, Any] = {}
    for pair in call.keywords:
        written = ast.unparse(pair.value)
        if pair.arg is None:
            problems.append(f"{KEY}: '**{written}' cannot be read. {how}")
        elif pair.arg in arguments:
            problems.append(f"{KEY}: {pair.arg} is given twice. Keep one of them.")
        else:
            try:
                arguments[pair.arg] = ast.literal_eval(pair.value)
            except (ValueError, TypeError):
                problems.append(
                    f"{KEY}: {pair.arg} = {written} cannot be read. Write a number, True, False, "
                    "None, text in quotes, or a list or tuple of those."
                )
    return arguments, problems


def parameters_of(strategy: type) -> dict[str, Parameter]:
    """Give what a class's constructor takes by name, its bases' where it hands ``**kwargs`` on."""
    found: dict[str, Parameter] = {}
    for owner in strategy.__mro__[:-1]:
        constructor = vars(owner).get("__init__")
        if constructor is None:
            continue
        hints = _hints(constructor)
        own = list(inspect.signature(constructor).parameters.values())[1:]
        for parameter in own:
            if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
                annotation = hints.get(parameter.name, Any)
                found.setdefault(parameter.name, parameter.replace(annotation=annotation))
        if all(parameter.kind is not Parameter.VAR_KEYWORD for parameter in own):
            break
    return found


def check_arguments(
    name: str,
    parameters: Mapping[str, Parameter],
    arguments: Mapping[str, Any],
    fixed: Mapping[str, str] = FIXED,
) -> list[str]:
    """Compare arguments with a constructor's parameters.

    Parameters
    ----------
    name : str
        How the user calls the aggregator.
    parameters : Mapping[str, Parameter]
        From `parameters_of`.
    arguments : Mapping[str, Any]
        All that will be given.
    fixed : Mapping[str, str]
        Parameters that nobody can give, and why.

    Returns
    -------
    list[str]
        A sentence for each argument that there is not, that is fixed, of another type or missing.
    """
    allowed = sorted(parameters.keys() - fixed.keys())
    listed = f"Its arguments are {', '.join(allowed)}." if allowed else "It takes no arguments."
    problems = []
    for argument, value in arguments.items():
        if argument in parameters and argument in fixed:
            problems.append(f"{KEY}: {argument} cannot be given: {fixed[argument]}.")
        elif argument not in parameters:
            hint = nearest(argument, allowed)
            problems.append(f"{KEY}: {name} has no argument {argument!r}.{hint} {listed}")
        elif not _fits(value, parameters[argument].annotation):
            wanted = inspect.formatannotation(parameters[argument].annotation)
            problems.append(
                f"{KEY}: {argument} = {value!r} is not allowed for {name}; allowed: {wanted}."
            )
    missing = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is Parameter.empty
        and parameter.name not in arguments
        and parameter.name not in fixed
    ]
    problems += [f"{KEY}: {name} needs {argument}. {listed}" for argument in missing]
    return problems


def _hints(function: Any) -> dict[str, Any]:
    """Types of a function's parameters; none if they cannot be told outside a type checker."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {}


def _fits(value: object, annotation: Any) -> bool:
    """Whether a literal is of the annotated type; a whole number is a float, a truth value none."""
    config = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
    try:
        TypeAdapter(annotation, config=config).validate_python(value, strict=True)
    except ValidationError:
        return False
    except PydanticUserError:  # a type of a user's own, which only its class can judge
        return True
    return True

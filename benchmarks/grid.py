"""Which runs the tables of ``docs/results.md`` are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cells import Cell

Changes = Mapping[str, object]

FEDERATED = ("finetune", "ewc", "o-lora", "m-lora", "moelora", "l2p", "disco")
REFERENCES = ("zero-shot", "blind", "centralized")

SCENARIOS: Mapping[str, Changes] = {"hom": {"preset": "mini"}, "het": {"preset": "mini-het"}}
SETTINGS = ("task", "capability")
DISCO: Changes = {"method": "disco"}

# Ends in another answer format (letters of a title) and lets formats alternate.
SECOND_ORDER = "figureqa,flickr30k,super-clevr,iconqa,arxivqa,imagenet-r,clevr-math,ocr-vqa"


@dataclass(frozen=True)
class Table:
    """Rows of runs that belong side by side.

    Parameters
    ----------
    title : str
        Its heading.
    rows : Mapping[str, Changes]
        Row's name to what it changes.
    note : str
        What has to be known to read it.
    """

    title: str
    rows: Mapping[str, Changes]
    note: str = ""
    first_seed_only: frozenset[str] = field(default_factory=frozenset)

    def cells(self, seeds: Sequence[int]) -> Iterator[tuple[str, Cell]]:
        """Row's name and cell of every run, the first seed of all rows first."""
        for seed in seeds:
            for name, changes in self.rows.items():
                if seed == seeds[0] or name not in self.first_seed_only:
                    yield name, Cell.of(changes, {"seed": seed})


def _main(scenario: str, setting: str) -> Table:
    where = {**SCENARIOS[scenario], "setting": setting}
    rows = {method: {**where, "method": method} for method in FEDERATED}
    # References know no clients: one run serves hom and het.
    alone = {"preset": "mini", "setting": setting}
    first = {method: {**alone, "method": method} for method in REFERENCES[:2]}
    joint = {"centralized": {**alone, "method": "centralized"}}
    return Table(
        f"Every method: {scenario}, {setting} stages",
        {**first, **rows, **joint},
        first_seed_only=frozenset(first),
    )


def _variants(key: str, values: Sequence[object], scenario: str, setting: str) -> Table:
    rows = {
        str(value): {**SCENARIOS[scenario], "setting": setting, **DISCO, key: value}
        for value in values
    }
    return Table(f"DISCO, `{key}`: {scenario}, {setting} stages", rows)


_ACTIVATIONS = ("softmax", "argmax", "cosine", "concat")
_TOKENS = ("text", "image", "text+image")
_PROJECTORS = ("shared", "frozen", "per-subspace")
_AGGREGATORS = ("fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "fedprox", "fedmedian")
# These need three participants to leave anybody out.
_ROBUST = ("fedavg", "fedtrimmedavg", "krum", "multikrum", "bulyan")

TABLES: Mapping[str, Table] = {
    **{
        f"{scenario}-{setting}": _main(scenario, setting)
        for setting in SETTINGS
        for scenario in SCENARIOS
    },
    "order": Table(
        "Another order of the tasks: hom, task stages",
        {
            method: {"preset": "mini", "tasks": SECOND_ORDER, "method": method}
            for method in ("finetune", "disco")
        },
    ),
    "activation": _variants("activation", _ACTIVATIONS, "hom", "task"),
    "token": _variants("identity.token", _TOKENS, "hom", "task"),
    "projector": _variants("projector", _PROJECTORS, "hom", "task"),
    "beta": Table(
        "Unequal shards: hom, task stages",
        {
            f"{method}, β = {beta}": {"preset": "mini", "method": method, "beta": beta}
            for beta in (0.5, 1.0, 5.0)
            for method in ("finetune", "disco")
        },
    ),
    "aggregator": Table(
        "DISCO, `aggregator`: hom, task stages",
        {
            **{name: {**DISCO, "aggregator": name} for name in _AGGREGATORS},
            **{
                f"{name}, 3 clients a round": {
                    **DISCO,
                    "aggregator": name,
                    "clients-per-round": 3,
                }
                for name in _ROBUST
            },
        },
    ),
}
"""Name on the command line to table; a new table is one entry."""

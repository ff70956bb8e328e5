"""Which runs the tables of ``docs/results.md`` are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cells import Cell

Changes = Mapping[str, object]

FEDERATED = ("finetune", "ewc", "o-lora", "m-lora", "moelora", "l2p", "disco")
REFERENCES = ("zero-shot", "blind", "centralized")

SCENARIOS: Mapping[str, Changes] = {"hom": {"preset": "mini"}, "het": {"preset": "mini-het"}}
# Half as many stages with several tasks each: as many steps in all.
SETTINGS: Mapping[str, Mapping[str, Changes]] = {
    "task": {"hom": {}, "het": {}},
    "capability": {
        "hom": {"setting": "capability", "train.steps": 40},
        "het": {"setting": "capability", "train.steps": 32},
    },
}
DISCO: Changes = {"method": "disco"}

# Not the paper's: chosen on validation samples, see docs/LOG.md.
BETTER: Changes = {**DISCO, "identity.prototypes": 4}
BETTER_NAME = "disco with prototypes"

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

    def cells(self, seeds: Sequence[int]) -> Iterator[tuple[str, Cell]]:
        """Row's name and cell of every run, the first seed of all rows first."""
        for seed in seeds:
            for name, changes in self.rows.items():
                yield name, Cell.of(changes, {"seed": seed})


def _where(scenario: str, setting: str) -> dict[str, object]:
    return {**SCENARIOS[scenario], **SETTINGS[setting][scenario]}


def _main(scenario: str, setting: str) -> Table:
    where = _where(scenario, setting)
    rows = {method: {**where, "method": method} for method in FEDERATED}
    rows[BETTER_NAME] = {**where, **BETTER}
    # References know no clients: one run serves hom and het.
    alone = _where("hom", setting)
    references = {method: {**alone, "method": method} for method in REFERENCES}
    return Table(f"Every method: {scenario}, {setting} stages", {**references, **rows})


def _variants(key: str, values: Sequence[object], scenario: str, setting: str) -> Table:
    where = _where(scenario, setting)
    rows = {str(value): {**where, **DISCO, key: value} for value in values}
    return Table(f"DISCO, `{key}`: {scenario}, {setting} stages", rows)


_ACTIVATIONS = ("softmax", "argmax", "cosine", "concat")
_TOKENS = ("text", "image", "text+image")
_PROJECTORS = ("shared", "frozen", "per-subspace")
_PROTOTYPES = (0, 4)
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
    "prototypes": _variants("identity.prototypes", _PROTOTYPES, "hom", "capability"),
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

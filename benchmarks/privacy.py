"""What noise on identity tokens does to matching and routing on the mini benchmark; no training.

    python benchmarks/privacy.py                 # whatever is missing, then table and plot
    python benchmarks/privacy.py --only-show

Five clients take part in each of the eight task stages. Their tokens are made and noised by the
functions of a run, matched by ``fcit_app.identity.replay`` (as ``fcit tau`` does), and the test
questions are weighed by the bank that results. Finished cells are kept in
``benchmarks/results/privacy``. Draws are seeded here, so that the table can be made again; a run's
noise never is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure

from fcit_app.config import RunConfig, parse
from fcit_app.data.load import load_benchmark
from fcit_app.data.stages import client_samples, make_stages
from fcit_app.identity.accountant import epsilon_of
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.privacy import clipped, deviation, noised
from fcit_app.identity.replay import Replay, ReplayRound, replay, sweep
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.activation import activation_weights
from fcit_app.model.features import sample_features
from fcit_app.runs.atomic import write_bytes


@dataclass(frozen=True)
class Setting:
    """What a column of the table is made with.

    Parameters
    ----------
    samples : int
        Of a task, over all clients.
    dimension : int
        ``identity.dimension``.
    least : int
        ``identity.min-samples``.
    """

    samples: int
    dimension: int = 0
    least: int = 1

    @property
    def words(self) -> str:
        """Column's head."""
        dimension = f", dimension {self.dimension}" if self.dimension else ""
        least = f", min-samples {self.least}" if self.least > 1 else ""
        return f"{self.samples} a task{dimension}{least}"


CLIENTS = 5
SETTINGS = (
    Setting(400),
    Setting(400, 64),
    Setting(400, 64, 40),
    Setting(4000),
    Setting(4000, 64),
)
NOISES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
DRAWS = 5
CLIP = 1.0  # the length of every feature of hashed-ngrams
RECORDS = Path(__file__).parent / "results" / "privacy"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "privacy.png"

Tokens = Mapping[int, Mapping[str, IdentityToken]]
"""Stage to client's name to token."""

Questions = Mapping[int, np.ndarray[Any, Any]]
"""Stage to the features of its test questions, (n, d)."""


def main(
    only_show: Annotated[bool, typer.Option("--only-show", help="Measure nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table.")] = None,
) -> None:
    """Measure what is missing, and show everything."""
    for setting in SETTINGS:
        missing = [noise for noise in NOISES if not record(setting, noise).is_file()]
        if missing and not only_show:
            measure(setting, missing)
    found = {
        (setting, noise): json.loads(record(setting, noise).read_text())
        for setting in SETTINGS
        for noise in NOISES
    }
    text = table(found)
    typer.echo(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    plot(found)


def record(setting: Setting, noise: float) -> Path:
    """File of a finished cell."""
    facts = f"samples={setting.samples},dimension={setting.dimension},least={setting.least}"
    return RECORDS / f"{facts},noise={noise:g}.json"


def measure(setting: Setting, noises: Sequence[float]) -> None:
    """Make the cells of one setting."""
    config = parse({"data.train-samples": setting.samples})
    typer.echo(f"{setting.words}: reading", err=True)
    tokens, questions = read(config, setting)
    counts = [token.count for of in tokens.values() for token in of.values()]
    for noise in noises:
        draws = [
            outcome(tokens, questions, noise, draw, config) for draw in range(DRAWS if noise else 1)
        ]
        cell = {"tokens": len(counts), "median": statistics.median(counts), "draws": draws}
        RECORDS.mkdir(parents=True, exist_ok=True)
        write_bytes(record(setting, noise), (json.dumps(cell, indent=1) + "\n").encode())
        typer.echo(f"{setting.words}, noise {noise:g}: {draws[0]}", err=True)


def read(config: RunConfig, setting: Setting) -> tuple[Tokens, Questions]:
    """Tokens of all clients before noise, and features of the test questions."""
    benchmark, encoder = load_benchmark(config), load_encoder(config.identity.encoder)
    features = sample_features("text", encoder, None, setting.dimension)
    tokens: dict[int, dict[str, IdentityToken]] = {}
    questions: dict[int, np.ndarray[Any, Any]] = {}
    for stage in make_stages(config):
        tokens[stage.number] = {}
        for client in range(CLIENTS):
            held = client_samples(benchmark, config, stage, client, CLIENTS)
            if len(held) >= setting.least:
                token = IdentityToken.of(clipped(features.of(held), CLIP))
                tokens[stage.number][f"{client}"] = token
        (task,) = stage.tasks
        questions[stage.number] = features.of(benchmark.test_samples(task))
    return tokens, questions


def outcome(
    tokens: Tokens, questions: Questions, noise: float, draw: int, config: RunConfig
) -> dict[str, dict[str, float]]:
    """Match one draw's tokens: with the default threshold, and with the best one in hindsight.

    The best one merges most without a wrong merge; nobody who cannot see the tasks can find it.
    """
    generator = np.random.default_rng([draw, round(1000 * noise)])
    sigma = deviation(CLIP, noise)
    rounds = [
        ReplayRound(
            stage,
            {name: noised(token, sigma, generator) for name, token in of.items()},
            frozenset(of),
        )
        for stage, of in tokens.items()
    ]
    tau, temperature = config.identity.tau, config.identity.temperature
    after = [
        judged(entry.outcome, (entry.low + entry.high) / 2, questions, temperature)
        for entry in sweep(rounds)
    ]
    sound = [found for found in after if found["wrong"] == 0]
    return {
        "default": judged(replay(rounds, tau), tau, questions, temperature),
        "hindsight": min(sound, key=lambda found: found["subspaces"]),
    }


def judged(found: Replay, tau: float, questions: Questions, temperature: float) -> dict[str, float]:
    """Say how good a bank is.

    ``wrong``: clients' tokens that joined a subspace which another task had opened. ``routing``:
    share of the test questions whose strongest subspace was trained on their task. ``weight``: mean
    softmax weight of all subspaces that were.
    """
    stages: dict[int, set[int]] = {identifier: set() for identifier in found.tokens}
    for (stage, _), subspace in found.home.items():
        stages[subspace].add(stage)
    wrong = sum(stage != min(stages[subspace]) for (stage, _), subspace in found.home.items())
    bank = torch.tensor(np.stack([token.total for token in found.tokens.values()]))
    routing, weight = [], []
    for stage, features in questions.items():
        own = torch.tensor([stage in of for of in stages.values()])
        weights = activation_weights(torch.tensor(features), bank, "softmax", temperature)
        routing.append(float(own[weights.argmax(dim=1)].float().mean()))
        weight.append(float(weights[:, own].sum(dim=1).mean()))
    return {
        "tau": round(tau, 4),
        "subspaces": len(found.tokens),
        "wrong": wrong,
        "routing": round(100 * statistics.mean(routing), 2),
        "weight": round(100 * statistics.mean(weight), 2),
    }


def table(found: Mapping[tuple[Setting, float], Mapping[str, Any]]) -> str:
    """Write means over the draws in Markdown: subspaces, with the best threshold, routing."""
    heads = []
    for setting in SETTINGS:
        cell = found[setting, 0.0]
        heads.append(f"{setting.words} ({cell['tokens']} tokens, median {cell['median']:g})")
    lines = [
        "| noise | ε of a token | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for noise in NOISES:
        epsilon = f"{epsilon_of(1e-5, noise):.3g}" if noise else "∞"
        row = [f"{noise:g}", epsilon]
        for setting in SETTINGS:
            cell = found[setting, noise]
            default, best = (mean(cell, how, "subspaces") for how in ("default", "hindsight"))
            row.append(f"{default:.0f} ({best:.0f}) · {mean(cell, 'default', 'routing'):.0f}")
        lines.append("| " + " | ".join(row) + " |")
    wrong = max(draw["default"]["wrong"] for cell in found.values() for draw in cell["draws"])
    lines += ["", f"Most wrong merges of any draw at tau 0.9: {wrong}."]
    return "\n".join(lines) + "\n"


def mean(cell: Mapping[str, Any], how: str, key: str) -> float:
    """Mean of a figure over the draws."""
    return statistics.mean(draw[how][key] for draw in cell["draws"])


def plot(found: Mapping[tuple[Setting, float], Mapping[str, Any]]) -> None:
    """Draw subspaces and routing over the ε of a token."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = ("#0b5cad", "#7db8f5", "#3a9a5b", "#b4451f", "#e9a088")
    noises = NOISES[1:]
    epsilons = [epsilon_of(1e-5, noise) for noise in noises]
    for setting, colour in zip(SETTINGS, colours, strict=True):
        for axes, key in ((left, "subspaces"), (right, "routing")):
            values = [mean(found[setting, noise], "default", key) for noise in noises]
            axes.plot(epsilons, values, color=colour, marker="o", label=setting.words)
    left.axhline(8, color="#57606a", linestyle=":")
    left.set(ylabel="subspaces (tau 0.9)", ylim=(0, None))
    right.set(ylabel="questions routed to their task, %", ylim=(0, 102))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="ε of a token (δ = 1e-5)")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    right.legend(frameon=False, fontsize="small", loc="lower right")
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    typer.run(main)

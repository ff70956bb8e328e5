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
from fcit_app.runs.atomic import write_bytes

CLIENTS = 5
SAMPLES = (400, 4000)
"""Of a task, over all clients."""

NOISES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
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
    for samples in SAMPLES:
        missing = [noise for noise in NOISES if not record(samples, noise).is_file()]
        if missing and not only_show:
            measure(samples, missing)
    found = [
        json.loads(record(samples, noise).read_text())
        for samples in SAMPLES
        for noise in NOISES
        if record(samples, noise).is_file()
    ]
    text = table(found)
    typer.echo(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    plot(found)


def record(samples: int, noise: float) -> Path:
    """File of a finished cell."""
    return RECORDS / f"samples={samples},noise={noise:g}.json"


def measure(samples: int, noises: Sequence[float]) -> None:
    """Make the cells of one number of samples."""
    config = parse({"data.train-samples": samples})
    typer.echo(f"reading {samples} samples of each task", err=True)
    tokens, questions = read(config)
    counts = [token.count for of in tokens.values() for token in of.values()]
    for noise in noises:
        draws = [
            outcome(tokens, questions, noise, draw, config) for draw in range(DRAWS if noise else 1)
        ]
        cell = {
            "samples": samples,
            "smallest": min(counts),
            "median": statistics.median(counts),
            "noise": noise,
            "draws": draws,
        }
        RECORDS.mkdir(parents=True, exist_ok=True)
        write_bytes(record(samples, noise), (json.dumps(cell, indent=1) + "\n").encode())
        typer.echo(f"samples {samples}, noise {noise:g}: {draws[0]}", err=True)


def read(config: RunConfig) -> tuple[Tokens, Questions]:
    """Tokens of all clients before noise, and features of the test questions."""
    benchmark, encoder = load_benchmark(config), load_encoder(config.identity.encoder)
    tokens: dict[int, dict[str, IdentityToken]] = {}
    questions: dict[int, np.ndarray[Any, Any]] = {}
    for stage in make_stages(config):
        tokens[stage.number] = {}
        for client in range(CLIENTS):
            held = client_samples(benchmark, config, stage, client, CLIENTS)
            features = encoder.encode([sample.question for sample in held])
            tokens[stage.number][f"{client}"] = IdentityToken.of(clipped(features, CLIP))
        (task,) = stage.tasks
        asked = [sample.question for sample in benchmark.test_samples(task)]
        questions[stage.number] = encoder.encode(asked)
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


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Write means over the draws in Markdown."""
    lines = [
        "| samples a client (median) | noise | ε of a token "
        "| subspaces | wrong | routing % | weight % "
        "| best tau | subspaces | routing % | weight % |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        noise = cell["noise"]
        epsilon = f"{epsilon_of(1e-5, noise):.3g}" if noise else "∞"
        row = [f"{cell['median']:g}", f"{noise:g}", epsilon]
        row += [mean(cell, "default", key) for key in ("subspaces", "wrong", "routing", "weight")]
        row += [mean(cell, "hindsight", key) for key in ("tau", "subspaces", "routing", "weight")]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def mean(cell: Mapping[str, Any], how: str, key: str) -> str:
    """Mean of a figure over the draws."""
    return f"{_mean(cell, how, key):.{2 if key == 'tau' else 1}f}".removesuffix(".0")


def _mean(cell: Mapping[str, Any], how: str, key: str) -> float:
    return statistics.mean(draw[how][key] for draw in cell["draws"])


def plot(cells: Sequence[Mapping[str, Any]]) -> None:
    """Draw subspaces and routing over the ε of a token."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = ("#0b5cad", "#b4451f")
    for samples, colour in zip(SAMPLES, colours, strict=True):
        of = [cell for cell in cells if cell["samples"] == samples and cell["noise"]]
        epsilons = [epsilon_of(1e-5, cell["noise"]) for cell in of]
        for how, style in (("default", "-"), ("hindsight", "--")):
            label = f"{samples} a task, tau {'0.9' if how == 'default' else 'best'}"
            for axes, key in ((left, "subspaces"), (right, "routing")):
                values = [_mean(cell, how, key) for cell in of]
                axes.plot(epsilons, values, style, color=colour, marker="o", label=label)
    left.axhline(8, color="#57606a", linestyle=":", label="8 tasks")
    left.set(ylabel="subspaces", ylim=(0, None))
    right.set(ylabel="questions routed to their task, %", ylim=(0, 102))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="ε of a token (δ = 1e-5)")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    left.legend(frameon=False, fontsize="small")
    figure.savefig(PICTURE, dpi=120)


if __name__ == "__main__":
    typer.run(main)

"""A ledger, analysis and state as a federated run leaves them, for tests of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from toy_results import toy_result

from fcit_app.config import flatten, parse
from fcit_app.runs import RunAnalysis, RunFolder

MATRIX = [[91.5], [62.25, 88.0], [41.0, 63.5, 97.0]]
TASKS = ["imagenet-r", "figureqa", "ocr-vqa"]
SUBSPACES = [
    {"id": 0, "task_counts": {"imagenet-r": 61}, "samples": 61, "first_stage": 1},
    {"id": 7, "task_counts": {"figureqa": 30, "ocr-vqa": 29}, "samples": 59, "first_stage": 2},
]
TOKENS = {0: [3.0, 4.0], 7: [4.0, 3.0]}
"""Their cosine is 0.96."""


def full_result(method: str = "disco", **fields: Any):
    """The result that belongs to ``MATRIX``."""
    return toy_result(
        method,
        tasks=TASKS,
        accuracy=MATRIX,
        last=67.2,
        avg=77.9,
        transfer=-37.5,
        total=65.0,
        up=2_000_000,
        down=2_000_000,
        **fields,
    )


def full_analysis(**changes: Any) -> RunAnalysis:
    """An analysis with everything measured."""
    ability = {"short": 90.0, "sentences": 12.5, "mean": 64.0, "skills": {"read": 99.0}}
    shares = {"routing_accuracy": 80.0, "entropy": 0.5, "normalised_entropy": 0.7}
    activation = [
        {"task": task, "weights": [0.75, 0.25], "strongest": [0.8, 0.2], **shares} for task in TASKS
    ]
    stages = [
        {
            "stage": number,
            "seen": number,
            "accuracy": [*row, *[3.0] * (3 - number)],
            "unseen_accuracy": [7.0],
            "transfer_accuracy": 5.5,
            "transfer_gain": -1.5,
            "subspaces": [0, 7],
            "activation": activation,
            "routing_accuracy": 80.5,
            "entropy": 0.25,
            "normalised_entropy": 0.625,
            "general": ability if number == 3 else None,
        }
        for number, row in enumerate(MATRIX, start=1)
    ]
    content = {
        "tasks": TASKS,
        "unseen": ["dvqa"],
        "zero_shot": [0.0] * 4,
        "general": ability | {"mean": 88.0},
        "forward_transfer": 3.0,
        "stages": stages,
    }
    return RunAnalysis.check(content | changes)


def federated_run(path: Path, clients: int = 3, until: int = 3, **settings: Any) -> RunFolder:
    """A run's folder after ``until`` of three stages: finished after the third one.

    Client 1 opens a subspace in stage 2, client 0 joins; client 2 sends numbers that are none.
    """
    config = parse({"method": "disco", "seed": 4, "out": str(path), **settings})
    folder = RunFolder.create(path, flatten(config), {"python": "3.11", "commit": "0123abc"})
    record = folder.ledger.record
    record(
        "run-started", method="disco", stages=TASKS, rounds=2, clients=clients, columns=[1, 2, 3]
    )
    for stage in range(1, until + 1):
        subspace = 0 if stage == 1 else 7
        record("stage-started", stage=stage, tasks=[TASKS[stage - 1]])
        for number in (1, 2):
            where = {"stage": stage, "round": number}
            record("round-started", **where, participants=list(range(clients)))
            if number == 1:
                pairs = [(0, False, 0.91), (1, True, 0.42)]
                matched = [
                    {"client": c, "subspace": subspace, "opened": opened, "cosine": cosine}
                    for c, opened, cosine in pairs
                ]
                record("clients-matched", **where, clients=matched)
            for client in set(range(clients)) - {2}:
                told = {"subspace": subspace, "loss": 0.5 / number, "examples": 9, "bytes": 1000}
                record("client-replied", **where, client=client, **told, seconds=0.5)
            told = {"client": 2, "reason": "values that are not finite", "quarantined": True}
            record("client-rejected", **where, **told)
            phases = {"configure": 0.1, "train": 1.5, "wait": 0.2, "guard": 0.1}
            phases |= {"aggregate": 0.1, "save": 0.1}
            traffic = {"up": 2_000_000, "down": 3_000_000}
            record("round-finished", **where, seconds=phases, bytes=traffic)
        record("stage-evaluated", stage=stage, accuracy=MATRIX[stage - 1], seconds=4.0)
    record("client-benched", stage=until, round=2, client=2, strikes=3)
    tokens = {f"subspace-{i:03d}/token": np.array(t, np.float32) for i, t in TOKENS.items()}
    meta = {
        "stage": until,
        "round": 2,
        "step": "evaluated",
        "resume": {"data": {"figureqa": "ab12"}},
    }
    folder.save_state({**tokens, "subspace-000/adapter/x": np.zeros(3, np.float32)}, meta)
    if until == 3:
        folder.write_analysis(full_analysis())
        folder.write_result(
            full_result(seed=4, subspaces=SUBSPACES, zero_shot=[1.0] * 3).model_dump()
        )
        record("run-finished", last=67.2, avg=77.9)
    return folder

"""Finished runs with random banks on the small LLaVA, made by hand: nothing is trained."""

from __future__ import annotations

from pathlib import Path

from toy_banks import RANK, SCALING, random_bank

from fcit_app.config import flatten, parse
from fcit_app.evaluate.saved_run import SavedRun, open_saved_run
from fcit_app.model.adapters import is_adapter, parameter_handles, wrap
from fcit_app.model.bank import Bank
from fcit_app.runs import RunFolder, make_result

TASKS = ("imagenet-r", "arxivqa", "iconqa")


def random_run(tiny_base, out: Path, method: str = "disco", count: int = 3, **changes) -> SavedRun:
    """A run whose subspace i learned task i and a little of task 0; its projector is trained."""
    model = wrap(tiny_base, RANK, SCALING)
    handles = parameter_handles(model, projector=True)
    bank = random_bank(handles, count)
    projector = {
        name: handle.detach().numpy() * 1.25
        for name, handle in handles.items()
        if not is_adapter(name)
    }
    bank = Bank(bank.subspaces, projector)
    return run_of(bank, tiny_base.name, out, method, **changes)


def run_of(bank: Bank, model: str, out: Path, method: str, **changes) -> SavedRun:
    """A finished run that has left this bank."""
    size = {"train.rank": RANK, "train.scaling": SCALING, "data.test-samples": 8}
    settings = {"model.name": model, "method": method, "tasks": ",".join(TASKS), "out": str(out)}
    config = parse({"preset": "mini-smoke", **size, **settings, **changes})
    folder = RunFolder.create(out, flatten(config), {})
    folder.ledger.record("run-started", method=method)
    for stage in range(1, len(TASKS) + 1):
        reply = {"stage": stage, "round": 1, "client": 4, "examples": 10, "subspace": stage - 1}
        folder.ledger.record("client-replied", **reply)
    arrays, facts = bank.to_arrays()
    meta = {"stage": len(TASKS), "round": 1, "step": "evaluated", "bank": facts}
    folder.save_state(arrays, meta)
    summaries = [
        {
            "id": subspace.identifier,
            "task_counts": {TASKS[place]: 20} | ({TASKS[0]: 5} if place else {}),
            "samples": 25 if place else 20,
            "first_stage": subspace.first_stage,
        }
        for place, subspace in enumerate(bank.subspaces)
    ]
    accuracy = [[50.0], [50.0, 25.0], [50.0, 25.0, 12.5]]
    result = make_result(
        config,
        tasks=TASKS,
        accuracy=accuracy,
        last=29.17,
        zero_shot=[0.0] * 3,
        subspaces=summaries,
    )
    folder.write_result(result)
    return open_saved_run(folder.path)

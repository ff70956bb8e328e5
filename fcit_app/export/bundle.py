"""Write what was asked for of a run: adapters, a bank with its router, or full weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fcit_app.errors import ConfigError, RunFolderError
from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.export.adapter import check_exportable, plain_lora, write_adapter
from fcit_app.export.card import base_name, model_card
from fcit_app.export.merged import merge_into_base
from fcit_app.export.mixture import read_mixture, subspace_weights
from fcit_app.export.provenance import origins
from fcit_app.export.router import why_not_as_one, write_router
from fcit_app.export.target import check_target, export_folder
from fcit_app.model.architectures import Architecture, architecture_of
from fcit_app.model.bank import Subspace
from fcit_app.model.hub import base_folder
from fcit_app.runs import RunResult, read_result

_LOAD_BASE = "from transformers import {loader}\n\nbase = {loader}.from_pretrained(BASE_FOLDER)\n"
_LOAD_ADAPTER = "from peft import PeftModel\n{base}model = PeftModel.from_pretrained(base, {where})"
_LOAD_BANK = (
    "import sys\n\nsys.path.append('{folder}/bank')\nfrom load_bank import load\n"
    "from text_encoder import text_encoder\n{base}"
    "model, router = load(base, '{folder}/bank', text_encoder('{folder}/bank'))\n"
    "with router.asked([question]):\n"
    "    model.generate(**inputs)"
)


@dataclass(frozen=True)
class Wanted:
    """What of a run is exported.

    Parameters
    ----------
    subspace : int or None
        One alone.
    mixture : str
        A fixed mixture as ``task=weight,…``; empty without.
    merge : bool
        Full weights instead of an adapter.
    """

    subspace: int | None = None
    mixture: str = ""
    merge: bool = False


@dataclass(frozen=True)
class Exported:
    """What an export holds.

    Parameters
    ----------
    folder : Path
        Where it is.
    kind : {"adapter", "bank", "merged"}
        One adapter; one a subspace and, beside them, all as one; or full weights.
    subspaces : tuple[int, ...]
        Identifiers.
    remarks : tuple[str, ...]
        What a user should know.
    """

    folder: Path
    kind: str
    subspaces: tuple[int, ...]
    remarks: tuple[str, ...]


def export_run(
    run: SavedRun, out: Path, wanted: Wanted, force: bool = False, unfinished: bool = False
) -> Exported:
    """Export a run's bank.

    A routed bank becomes one adapter folder a subspace, and beside them the bank as one adapter
    with its router. One subspace, a fixed mixture and a bank that is not routed are one adapter
    each, which ``merge`` bakes into the base's weights.

    Parameters
    ----------
    run : SavedRun
        What is exported.
    out : Path
        The new folder.
    wanted : Wanted
        What of it.
    force : bool
        Replace an export at ``out``.
    unfinished : bool
        Accept a run without a result.

    Raises
    ------
    FcitError
        If the run has not finished, the method's adapters are no LoRA, the parts asked for do not
        exist or cannot be one adapter, or ``out`` is taken.
    """
    check_exportable(run.config.method)
    result = _result(run, unfinished)
    check_target(out.resolve(), force)
    chosen = _chosen(run, wanted, result)
    base = base_folder(run.config.model.name, run.config.model.revision)
    described = json.loads((base / "config.json").read_text(encoding="utf-8"))
    architecture = architecture_of(described.get("model_type"), base / "config.json")
    loader = "AutoModelForImageTextToText" if architecture.sees else "AutoModelForCausalLM"
    load_base = _LOAD_BASE.format(loader=loader)
    folder_name = out.resolve().name
    remarks: list[str] = []
    with export_folder(out, force) as part:
        if chosen is None:
            kind, weights = "bank", {s.identifier: 1.0 for s in run.bank.subspaces}
            remarks += _write_bank(part, run, architecture)
            what = "One PEFT adapter a subspace (`subspace-NNN`)."
            first = f"'{folder_name}/{_name(run.bank.subspaces[0])}'"
            usage = _LOAD_ADAPTER.format(base=load_base, where=first)
            if (part / "bank").is_dir():
                what += " In `bank` all of them as one, with a router and a reference loader."
                usage = _LOAD_BANK.format(base=load_base, folder=folder_name)
        else:
            weights = chosen
            kind = "merged" if wanted.merge else "adapter"
            place = part / "adapter" if wanted.merge else part
            _write_chosen(place, run, chosen, architecture)
            what = "One PEFT adapter."
            usage = _LOAD_ADAPTER.format(base=load_base, where=f"'{folder_name}'")
            if wanted.merge:
                merge_into_base(base, place, architecture, part)
                what = "Full weights; `adapter` is what was merged into the base."
                usage = load_base.replace("BASE_FOLDER", f"'{folder_name}'").strip()
            if wanted.merge and run.config.model.quantization != "none":
                remarks.append("The base's unquantized weights were merged: answers may differ.")
        card = model_card(
            run, result, base, what, usage, weights, origins(run.path), remarks
        )  # fmt: skip
        (part / "README.md").write_text(card, encoding="utf-8")
    return Exported(out.resolve(), kind, tuple(weights), tuple(remarks))


def _result(run: SavedRun, unfinished: bool) -> RunResult | None:
    if (run.path / "result.json").is_file():
        return read_result(run.path)
    if not unfinished:
        raise RunFolderError(
            f"{run.path} has not finished: it was saved after stage {run.stage}, round {run.round}."
            " Finish it with --resume, or export what there is with --allow-unfinished."
        )
    return None


def _chosen(
    run: SavedRun, wanted: Wanted, result: RunResult | None
) -> dict[int, float] | None:  # fmt: skip
    """Weights of what becomes one adapter; None for the routed bank as a whole."""
    identifiers = [subspace.identifier for subspace in run.bank.subspaces]
    if wanted.subspace is not None and wanted.mixture:
        raise ConfigError("--subspace and --mixture were both given. Keep one of them.")
    if wanted.subspace is not None:
        if wanted.subspace not in identifiers:
            raise ConfigError(
                f"--subspace: the run has no subspace {wanted.subspace}; allowed: "
                f"{', '.join(map(str, identifiers))}."
            )
        return {wanted.subspace: 1.0}
    if wanted.mixture:
        mixture = read_mixture(wanted.mixture)
        if result is None or not result.subspaces:
            raise ConfigError(
                "--mixture: only a finished run says which subspace learned which task. Use "
                "--subspace."
            )
        return _one_projector(
            run, subspace_weights(mixture, {s.id: s.task_counts for s in result.subspaces})
        )
    if run.routed:
        if wanted.merge:
            raise ConfigError(
                "--merge: each question of this run has its own mixture of subspaces, which no "
                "single set of weights holds. Add --subspace or --mixture."
            )
        return None
    return dict.fromkeys(identifiers, 1.0)


def _one_projector(run: SavedRun, weights: Mapping[int, float]) -> dict[int, float]:
    own = [s for s in run.bank.subspaces if s.projector is not None and s.identifier in weights]
    if len(own) > 1:
        raise ConfigError(
            "--mixture: each subspace of this run has a projector of its own, and several cannot "
            "be one (projector = per-subspace). Use --subspace."
        )
    return dict(weights)


def _write_chosen(
    folder: Path, run: SavedRun, weights: Mapping[int, float], architecture: Architecture
) -> None:
    parts = [s for s in run.bank.subspaces if s.identifier in weights]
    projector = parts[0].projector or run.bank.projector
    lora = plain_lora(parts, [weights[s.identifier] for s in parts], projector, run.config)
    write_adapter(folder, lora, run.config, architecture, base_name(run.config.model.name))


def _write_bank(folder: Path, run: SavedRun, architecture: Architecture) -> list[str]:
    """Write the routed bank; what could not be written comes back as remarks."""
    for subspace in run.bank.subspaces:
        _write_chosen(folder / _name(subspace), run, {subspace.identifier: 1.0}, architecture)
    reason = why_not_as_one(run.bank, run.config)
    if reason:
        return [f"There is no `bank`, all subspaces as one adapter: {reason}."]
    every = {subspace.identifier: 1.0 for subspace in run.bank.subspaces}
    _write_chosen(folder / "bank", run, every, architecture)
    write_router(folder / "bank", run.bank, run.config)
    if run.config.evaluate.routing == "batch":
        return ["The run routed whole batches; the loader routes each question by itself."]
    return []


def _name(subspace: Subspace) -> str:
    return f"subspace-{subspace.identifier:03d}"

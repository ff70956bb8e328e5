"""The model card: what an export is, how it is loaded, what it scored, where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fcit_app import __version__
from fcit_app.data.folder.datasets import DATASETS
from fcit_app.evaluate.saved_run import SavedRun
from fcit_app.export.provenance import Origin
from fcit_app.export.target import sha256_of
from fcit_app.model.prompt import VICUNA_V1
from fcit_app.runs import RunResult


def model_card(
    run: SavedRun,
    result: RunResult | None,
    base: Path,
    what: str,
    usage: str,
    weights: Mapping[int, float],
    origins: Mapping[int, Origin],
    remarks: Sequence[str],
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    run : SavedRun
        What was exported.
    result : RunResult or None
        None while the run has none.
    base : Path
        The base's folder.
    what : str
        One sentence on what the folder holds.
    usage : str
        Python that loads it.
    weights : Mapping[int, float]
        The exported subspaces with their weights in a fixed mixture.
    origins : Mapping[int, Origin]
        Of the subspaces.
    remarks : Sequence[str]
        What else a user must know.
    """
    config = run.config
    state = "" if result else " The run had not finished."
    parts = [
        f"---\nlibrary_name: peft\nbase_model: {base_name(config.model.name)}\n"
        "tags: [lora, federated-learning, continual-learning]\n---",
        f"# {config.method} after stage {run.stage}, round {run.round}",
        f"{what}{state} Exported by fcit-disco {__version__}; bank {run.digest[:16]}.",
        "## Use\n\n```python\n" + usage + "\n```",
        *[f"- {remark}" for remark in [_prompt(run), *remarks]],
        f"## Base\n\n{_base(run, base)}",
        f"## Results\n\n{_results(result)}",
        f"## Where it came from\n\n{_provenance(run, weights, origins)}",
        f"## Data\n\n{_data(run)}",
    ]
    return "\n\n".join(parts) + "\n"


def base_name(name: str) -> str:
    """Name of a base for others: of a folder its last part, which says nothing of this machine."""
    return Path(name).name if Path(name).is_dir() else name


def _prompt(run: SavedRun) -> str:
    config = run.config
    square = " Pictures are padded to a square first." if config.model.pad_to_square else ""
    if config.model.prompt == "template":
        return f"Questions are put by the base's own chat template.{square}"
    return f"Questions are put as `{VICUNA_V1!r}`.{square}"


def _base(run: SavedRun, base: Path) -> str:
    name = base_name(run.config.model.name)
    lines = [
        f"`{name}`; SHA-256 of its `{file.name}`: `{sha256_of(file)}`."
        for file in sorted(base.glob("*.safetensors"))
    ]
    if run.config.model.name == "mini":
        lines.append("It ships with the package fcit-disco (`fcit_app/model/mini`).")
    if run.config.model.quantization != "none":
        lines.append(f"Trained on the base in {run.config.model.quantization}.")
    lines.append("Licence: that of the package." if name == "mini" else _licence(base))
    return "\n".join(lines)


def _licence(base: Path) -> str:
    card = base / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("license:", "license_name:")):
                return f"Licence, by its own card: {line.partition(':')[2].strip()}."
    return "Licence: not known to us; see the base's source. It binds this adapter too."


def _results(result: RunResult | None) -> str:
    if result is None or not result.accuracy:
        return "None: the run has no result."
    zero_shot: Sequence[float] = result.zero_shot or ()
    rows = [
        f"| {task} | {accuracy:.2f} | {f'{zero_shot[place]:.2f}' if zero_shot else ''} |"
        for place, (task, accuracy) in enumerate(
            zip(result.tasks, result.accuracy[-1], strict=False)
        )
    ]
    return "\n".join(
        [
            "Accuracy in percent on test samples at the end of the run, of the whole bank with the "
            "run's own activation; one subspace or a fixed mixture alone does something else.\n",
            "| task | accuracy | base alone |\n|---|---|---|",
            *rows,
        ]
    )


def _provenance(run: SavedRun, weights: Mapping[int, float], origins: Mapping[int, Origin]) -> str:
    head = "| subspace | weight | tasks | stages | rounds | clients: samples |\n" + 6 * "|---" + "|"
    rows = []
    for number, weight in weights.items():
        origin = origins.get(number)
        tasks = ", ".join(run.trained.get(number, ())) or "not known"
        if origin is None:
            rows.append(f"| {number} | {weight:g} | {tasks} | not known | | |")
            continue
        clients = ", ".join(f"{name}: {count}" for name, count in origin.clients.items())
        stages = ", ".join(map(str, origin.stages))
        rows.append(f"| {number} | {weight:g} | {tasks} | {stages} | {origin.rounds} | {clients} |")
    shared = run.bank.projector is not None
    return "\n".join(
        [
            head,
            *rows,
            "\nClients are pseudonyms, hashes with a salt that was not kept.",
            *(["The projector is shared: every stage has trained it."] if shared else []),
        ]
    )


def _data(run: SavedRun) -> str:
    if not run.config.data.root:
        return "Pictures that the package draws by itself (the mini benchmark)."
    known = {entry.name: entry for entry in DATASETS}
    return "\n".join(
        f"- {task}: {known[task].licence or 'licence not known to us'}, {known[task].pictures_from}"
        for task in run.tasks
        if task in known
    )

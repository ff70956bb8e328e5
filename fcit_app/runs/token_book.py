"""``tokens/``: the identity tokens of a run's clients, kept so that matching can be replayed.

One safetensors file a stage, written whole before the round's state is saved: a run that is resumed
replaces the rounds that it does again. Tokens are means of instruction features, never of single
samples or answers, yet they tell what a client's data are about: whoever gets the run folder gets
them. Delete ``tokens/`` before giving it away; only ``fcit tau`` needs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fcit_app.arrays import Array, Arrays
from fcit_app.errors import RunFolderError
from fcit_app.runs.atomic import write_bytes
from fcit_app.runs.disk import keeping

FOLDER = "tokens"
_FORMAT = "fcit-tokens-1"


@dataclass(frozen=True)
class KeptRound:
    """Who took part in one attempt at a round.

    Parameters
    ----------
    stage, round, attempt : int
        Stages and rounds count from 1, attempts from 0.
    counts : dict[str, int]
        Name of each participant's token, in the order of clients, to its number of samples.
    tasks : dict[str, list[str]]
        Name of a token to the tasks that its client trained on.
    delivered : list[str]
        Tokens of the clients whose replies were merged; empty for an attempt that failed.
    """

    stage: int
    round: int
    attempt: int
    counts: dict[str, int]
    tasks: dict[str, list[str]]
    delivered: list[str]


class TokenBook:
    """The tokens in a run folder.

    Parameters
    ----------
    run : Path
        The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER

    def keep(
        self,
        place: tuple[int, int, int],
        tokens: Mapping[int, tuple[Array, int]],
        delivered: Mapping[int, list[str]],
    ) -> None:
        """Add an attempt at a round, in place of whatever was kept of it and of later ones.

        Parameters
        ----------
        place : tuple[int, int, int]
            Stage, round, attempt.
        tokens : Mapping[int, tuple[Array, int]]
            Participant to its summed features, (d,) float32, and their number.
        delivered : Mapping[int, list[str]]
            Clients whose replies were merged, to the tasks they trained on.
        """
        stage = place[0]
        rounds, arrays = self._read(stage) if self._file(stage).is_file() else ([], {})
        names = {client: _name(client, *tokens[client]) for client in sorted(tokens)}
        rounds = [entry for entry in rounds if (stage, entry.round, entry.attempt) < place]
        rounds.append(
            KeptRound(
                *place,
                counts={names[client]: tokens[client][1] for client in names},
                tasks={names[client]: delivered[client] for client in sorted(delivered)},
                delivered=[names[client] for client in sorted(delivered)],
            )
        )
        arrays |= {names[client]: np.array(tokens[client][0]) for client in names}
        used = {name: arrays[name] for entry in rounds for name in entry.counts}
        facts = {"format": _FORMAT, "rounds": json.dumps([asdict(entry) for entry in rounds])}
        with keeping(self._folder):
            self._folder.mkdir(exist_ok=True)
        write_bytes(self._file(stage), save(used, metadata=facts))

    def read(self) -> tuple[list[KeptRound], dict[tuple[int, str], Array]]:
        """All rounds in their order, and by stage and name the summed features.

        Raises
        ------
        RunFolderError
            If no tokens are kept, or a file is damaged or of another version.
        """
        stages = sorted(int(file.stem[6:]) for file in self._folder.glob("stage-*.safetensors"))
        if not stages:
            raise RunFolderError(
                f"{self._folder} holds no identity tokens of clients: the run is of a method "
                "without them, has matched nobody yet, or was made before runs kept them. Name a "
                "newer run of method disco."
            )
        rounds: list[KeptRound] = []
        totals: dict[tuple[int, str], Array] = {}
        for stage in stages:
            found, arrays = self._read(stage)
            rounds += found
            totals |= {(stage, name): array for name, array in arrays.items()}
        return rounds, totals

    def _file(self, stage: int) -> Path:
        return self._folder / f"stage-{stage:02d}.safetensors"

    def _read(self, stage: int) -> tuple[list[KeptRound], Arrays]:
        path = self._file(stage)
        try:
            with safe_open(path, framework="numpy") as file:
                facts = file.metadata() or {}
                if facts.get("format") != _FORMAT:
                    raise RunFolderError(
                        f"{path} has format {facts.get('format')!r}; known is {_FORMAT!r}. Use the "
                        "version that wrote it."
                    )
                rounds = [KeptRound(**entry) for entry in json.loads(facts["rounds"])]
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged: {error}") from error
        return rounds, arrays


def _name(client: int, total: Array, count: int) -> str:
    """Name a token by its client and content: one client has several if its lessons differ."""
    digest = hashlib.sha256(f"{count}".encode() + np.ascontiguousarray(total).tobytes())
    return f"client-{client:06d}-{digest.hexdigest()[:8]}"

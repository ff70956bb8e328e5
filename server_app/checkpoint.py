"""What is kept of a run after each step, and how a run goes on from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flwr.app import ArrayRecord

from fcit_app.data.stages import Stage
from fcit_app.errors import RunFolderError
from fcit_app.runs import RESUME, RunFolder, SavedState
from server_app.journal import Journal
from server_app.learning import Learning
from server_app.loop import Federation
from server_app.place import ROUND, Place
from server_app.totals import Totals
from strategies.snapshot import pack, restore, state_of, unpack


class Checkpoint:
    """Keeps all that a run needs to go on, to the bit.

    Parameters
    ----------
    folder : RunFolder
        Where it is kept.
    learning : Learning
        Model, strategy and scores of the run.
    federation : Federation
        Its totals and clients are kept too.
    journal : Journal
        Where what cannot be kept is told, once.
    facts : Mapping
        JSON that a resumed run is compared with, beside the clients: ``shares``, ``data``.

    Attributes
    ----------
    place : Place
        Where the run that goes on was.
    """

    def __init__(
        self,
        folder: RunFolder,
        learning: Learning,
        federation: Federation,
        journal: Journal,
        facts: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._learning = learning
        self._federation = federation
        self._journal = journal
        self._facts = dict(facts)
        self._told = False
        self._before = 0.0
        self._started = time.perf_counter()
        self.place = Place()

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the pauses."""
        return self._before + time.perf_counter() - self._started

    def save(self, arrays: ArrayRecord, stage: Stage, number: int, step: str = ROUND) -> None:
        """Keep the run as it is after a step.

        Parameters
        ----------
        arrays : ArrayRecord
            The global record.
        stage : Stage
            The stage under way.
        number : int
            The latest round.
        step : str
            ``ROUND``, ``FINISHED`` or ``EVALUATED`` (``server_app.place``).
        """
        bank, meta = self._learning.facts(arrays)
        packed = pack(
            {
                "record": arrays,
                "strategy": dict(state_of(self._learning.strategy)),
                "totals": vars(self._federation.totals),
                "learning": self._learning.state_dict(),
                "seconds": self.seconds,
            }
        )
        if packed.lost and not self._told:
            self._told = True
            self._journal.say(
                "this run cannot be resumed to the bit; its aggregator holds what cannot be saved: "
                + ", ".join(packed.lost)
            )
        kept = {
            "state": packed.tree,
            "lost": packed.lost,
            "events": self._folder.ledger.count(),
            **self._facts,
            "clients": self._federation.clients,
        }
        place = {"stage": stage.number, "round": number, "step": step}
        named = {f"{RESUME}/{name}": array for name, array in packed.arrays.items()}
        self._folder.save_state(bank | named, {**place, **meta, RESUME: kept})

    def load(self, saved: SavedState) -> ArrayRecord:
        """Go on where a saved state was; give the global record.

        Raises
        ------
        RunFolderError
            If the state is not one of this method's.
        """
        prefix = f"{RESUME}/"
        kept = {k.removeprefix(prefix): a for k, a in saved.arrays.items() if k.startswith(prefix)}
        state = unpack(saved.meta[RESUME]["state"], kept)
        try:
            self.place = Place(saved.meta["stage"], saved.meta["round"], saved.meta["step"])
            restore(self._learning.strategy, state["strategy"])
            self._learning.load_state_dict(state["learning"])
            self._federation.totals = Totals(**state["totals"])
            self._before = state["seconds"]
            record: ArrayRecord = state["record"]
        except (KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(f"The saved state lacks or garbles {error}.") from error
        self._federation.recognise()
        self._folder.put_state_right()
        return record

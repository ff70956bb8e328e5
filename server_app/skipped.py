"""Bad records that were left out (``data.on-bad-sample = skip``): told in the ledger, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flwr.app import ConfigRecord, Message

from fcit_app.data.folder.defects import Defect, summary

SKIPPED = "skipped"
"""Record of a training's reply that tells of them: ``records`` (int) and ``told`` (str)."""

EVENT = "samples-skipped"

_LONGEST = 500
"""Characters of a stranger's words that are kept."""

Tell = Callable[..., None]
"""Reports an event: its name, then its fields as keywords."""


class SkippedSamples:
    """Tells what clients left out; the same words of the same client once."""

    def __init__(self) -> None:
        self._told: set[tuple[int, str]] = set()

    def take(self, client: int, reply: Message, tell: Tell) -> None:
        """Look at a good reply.

        Parameters
        ----------
        client : int
            Whose it is.
        reply : Message
            With content; what it says of skipped records in another form is passed over.
        tell : Tell
            Where they are reported.
        """
        record = reply.content.config_records.get(SKIPPED, ConfigRecord())
        count, words = record.get("records"), record.get("told")
        if not isinstance(count, int) or count < 1 or not isinstance(words, str):
            return
        words = words[:_LONGEST]
        if (client, words) not in self._told:
            self._told.add((client, words))
            tell(EVENT, client=client, records=count, text=words)


def tell_of_test_samples(found: Mapping[str, Sequence[Defect]], tell: Tell) -> None:
    """Report what the server itself left out of the test samples, task by task."""
    for task, defects in found.items():
        text = f"{task} (test samples): {summary(defects)}"
        tell(EVENT, client=None, records=len(defects), text=text)

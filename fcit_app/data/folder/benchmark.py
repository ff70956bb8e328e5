"""The benchmark that lies in a folder: FCIT's files, as many samples of them as a run wants."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fcit_app.data.catalogue import CAPABILITIES, Setting, is_private
from fcit_app.data.folder.datasets import GENERATION_LENGTH, PICTURES, dataset, task_of
from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.partition import client_file, partition_folder
from fcit_app.data.folder.private import (
    ROOT_KEY,
    TASK_KEY,
    private_test_file,
    private_train_file,
)
from fcit_app.data.folder.reader import (
    BadRecords,
    Found,
    Policy,
    asking_parser,
    good_records,
    private_parser,
    require_folder,
    samples_of,
    training_parser,
)
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError

_LOGGER = logging.getLogger(__name__)

_VALIDATION_SHARE = 10
"""At most one record in so many of a training file is kept for validation."""


class FolderBenchmark:
    """Samples of the data sets below one root; files are read when a task is first asked for.

    Training and validation samples come from the training file, and no picture (of text alone: no
    question) is in both. Where the file has more than is wanted, a seeded choice is taken, the same
    on every machine.

    Parameters
    ----------
    root : Path
        Folder of the data.
    seed : int
        Of all choices.
    train_size, test_size : int
        Most training and test samples of a task; validation has at most as many as test. Each turn
        of a record with several is a sample.
    policy : {"refuse", "skip"}
        What becomes of bad records.
    dealt_beta : float, optional
        Take each client's shard from the partition of this concentration on disk.
    """

    def __init__(
        self,
        root: Path,
        seed: int,
        train_size: int,
        test_size: int,
        policy: Policy = "refuse",
        dealt_beta: float | None = None,
    ) -> None:
        self._root = root
        self._seed = seed
        self._train_size = train_size
        self._test_size = test_size
        self._policy: Policy = policy
        self._dealt_beta = dealt_beta
        self._kept: dict[tuple[str, ...], tuple[Sample, ...]] = {}
        self._skipped: dict[tuple[str, ...], tuple[Defect, ...]] = {}

    def training_samples(self, task: str) -> Sequence[Sample]:
        """Training samples of a task, before they are dealt to clients.

        Of a private one those in ``private/<task>/train.json``.
        """
        return self._keep(("train", task), lambda bad: self._from_training(task, bad)[0])

    def validation_samples(self, task: str) -> Sequence[Sample]:
        """Give samples for choosing settings, from the training file.

        Raises
        ------
        DataError
            If shards come from a partition on disk: there every training record is trained on.
        """
        if self._dealt_beta is not None:
            raise DataError(
                "A partition on disk deals every training record, so none is left for validation. "
                "Choose settings with data.partition=seeded."
            )
        return self._keep(("validation", task), lambda bad: self._from_training(task, bad)[1])

    def test_samples(self, task: str) -> Sequence[Sample]:
        """Test samples of a task; of a private one those in ``private/<task>/test.json``."""
        return self._keep(("test", task), lambda bad: self._from_test(task, bad))

    def dealt_samples(self, name: str, client: int, clients: int) -> tuple[Sample, ...] | None:
        """Give one client's shard of a task or capability, used as it is.

        Returns
        -------
        tuple[Sample, ...] or None
            None if shards do not come from disk; those of a private task never do.

        Raises
        ------
        DataError
            If the shard is missing, or holds records of no FCIT data set.
        """
        if self._dealt_beta is None or is_private(name):
            return None
        setting: Setting = "capability" if name in CAPABILITIES else "task"
        folder = partition_folder(self._root, setting, self._dealt_beta)

        def read(bad: BadRecords) -> tuple[Sample, ...]:
            file = client_file(folder, setting, name, client, clients)
            records = good_records(file, training_parser, bad)
            return tuple(sample for found in records for sample in self._samples(found, None, bad))

        return self._keep(("shard", name, str(client), str(clients)), read)

    def skipped_training(self, names: Collection[str], client: int) -> tuple[Defect, ...]:
        """Give what was left out of the training samples read by now of some tasks or capabilities.

        Parameters
        ----------
        names : Collection[str]
            The tasks or capabilities.
        client : int
            Whose shards count, where they come from disk.
        """
        return tuple(
            defect
            for key, defects in self._skipped.items()
            for defect in defects
            if key[1] in names and key[0::2] in (("train",), ("shard", str(client)))
        )

    def skipped_test(self) -> dict[str, tuple[Defect, ...]]:
        """Give what was left out of the test samples read by now, by task that had any."""
        return {key[1]: found for key, found in self._skipped.items() if key[0] == "test"}

    def _keep(
        self, key: tuple[str, ...], read: Callable[[BadRecords], tuple[Sample, ...]]
    ) -> tuple[Sample, ...]:
        """Read once, and report what was skipped on the way."""
        if key not in self._kept:
            require_folder(self._pictures(key[1]), "the folder of the pictures")
            bad = BadRecords(self._policy)
            samples = read(bad)
            if bad.skipped:
                _LOGGER.warning("%s: %s", " ".join(key[:2]), bad.summary())
                self._skipped[key] = tuple(bad.skipped)
            if not samples:
                raise DataError(f"{self._root}: there is no usable sample for {' '.join(key)}.")
            self._kept[key] = samples
        return self._kept[key]

    def _from_training(
        self, task: str, bad: BadRecords
    ) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """Training and validation samples: whole pictures go to one of them."""
        records = self._shuffled(task, self._training_records(task, bad))
        most = min(self._test_size, len(records) // _VALIDATION_SHARE)
        apart = self._take(task, records, most, bad)
        subjects = {found.record.subject for found in records[: apart[0]]}
        rest = [found for found in records if found.record.subject not in subjects]
        return self._take(task, rest, self._train_size, bad)[1], apart[1]

    def _training_records(self, task: str, bad: BadRecords) -> Iterator[Found]:
        if not is_private(task):
            return good_records(self._root / dataset(task).train_path, training_parser, bad)
        file = private_train_file(self._root, task)
        if not file.is_file():
            raise DataError(
                f"{file}: there are no training records of {task}. Put them there, or name a folder"
                f" of this client's own in its --node-config ({ROOT_KEY}, {TASK_KEY})."
            )
        return good_records(file, private_parser, bad)

    def _pictures(self, task: str) -> Path:
        """Folder to which a task's image paths are relative."""
        return self._root / task if is_private(task) else self._root / PICTURES

    def _from_test(self, task: str, bad: BadRecords) -> tuple[Sample, ...]:
        if is_private(task):
            records = good_records(private_test_file(self._root, task), private_parser, bad)
            return self._take(task, self._shuffled(task, records), self._test_size, bad)[1]
        entry = dataset(task)
        captions = self._root / entry.captions_path if entry.captions_path else None
        records = good_records(self._root / entry.test_path, asking_parser(captions), bad)
        return self._take(task, self._shuffled(task, records), self._test_size, bad)[1]

    def _shuffled(self, task: str, records: Iterable[Found]) -> list[Found]:
        """By a hash of seed and picture: records of one picture stay together.

        Of text alone, records of one question.
        """

        def key(found: Found) -> tuple[bytes, int]:
            text = f"{self._seed}/{task}/{found.record.subject}"
            return hashlib.sha256(text.encode()).digest(), found.position

        return sorted(records, key=key)

    def _take(
        self, task: str, records: Sequence[Found], size: int, bad: BadRecords
    ) -> tuple[int, tuple[Sample, ...]]:
        """Take the first samples: how many records they span, and they in the file's order."""
        chosen: list[tuple[int, Sample]] = []
        looked = 0
        for found in records:
            if len(chosen) >= size:
                break
            looked += 1
            chosen += [(found.position, sample) for sample in self._samples(found, task, bad)]
        chosen = sorted(chosen[:size], key=lambda entry: entry[0])
        return looked, tuple(sample for _, sample in chosen)

    def _samples(self, found: Found, task: str | None, bad: BadRecords) -> tuple[Sample, ...]:
        if task is None:
            task = task_of(found.record.image, found.record.texts)
        if task is None:
            raise DataError(
                f"{found.file}, record {found.position} (counted from 0): its picture "
                f"{found.record.image!r} belongs to no FCIT data set."
            )
        name = str(found.file.relative_to(self._root).with_suffix(""))
        samples = samples_of(found, self._pictures(task), name, task, bad)
        captions = not is_private(task) and dataset(task).metric == "captions"
        return tuple(
            replace(
                sample,
                answer_tokens=GENERATION_LENGTH,
                # A training record, held out for validation, brings one caption only.
                references=(sample.references or (sample.answer,)) if captions else (),
            )
            for sample in samples
        )

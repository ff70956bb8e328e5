"""What a run's data are, in a few hashes: a run that goes on must find the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fcit_app.data.catalogue import is_private, tasks_of
from fcit_app.data.folder.datasets import dataset
from fcit_app.data.folder.partition import client_files, partition_folder, stage_folders
from fcit_app.data.folder.private import private_train_file
from fcit_app.data.load import Benchmark
from fcit_app.data.mini.benchmark import MiniBenchmark
from fcit_app.data.sample import Sample
from fcit_app.data.settings import DataSettings
from fcit_app.data.stages import deal, make_stages

_PROBE = 8
"""Training samples of a mini task that are looked at: they are drawn one by one, all alike."""


def data_fingerprint(
    config: DataSettings, benchmark: Benchmark, tasks: Sequence[str], clients: int
) -> dict[str, str]:
    """Hash what a run trains on and is asked, as far as this process can see it.

    Parameters
    ----------
    config : DataSettings
        The run's configuration.
    benchmark : Benchmark
        Gives the test samples.
    tasks : Sequence[str]
        All that are asked.
    clients : int
        Among how many the training samples are dealt.

    Returns
    -------
    dict[str, str]
        A name such as ``test samples of dvqa`` to SHA-256 digits. Of samples: identifiers,
        questions and answers. In a folder: also the training files that are here, and the
        partition's. Pictures are not read.
    """
    found = {
        f"{task} (test samples)": samples_digest(benchmark.test_samples(task)) for task in tasks
    }
    stages = make_stages(config)
    plan = [(stage.name, stage.tasks, stage.timetable.facts()) for stage in stages]
    found["the stages (scenario)"] = _hash([repr(plan).encode()])
    names = dict.fromkeys(name for stage in stages for name in stage.timetable.whole)
    if isinstance(benchmark, MiniBenchmark):
        probe = MiniBenchmark(config.seed, min(_PROBE, config.data.train_samples), 1)
        for name in names:
            drawn = [sample for task in tasks_of(name) for sample in probe.training_samples(task)]
            found[f"{name} (training samples)"] = samples_digest(drawn)
            size = config.data.train_samples * len(tasks_of(name))
            shards = deal(config, name, size, clients)
            found[f"{name} (shards of {clients} clients)"] = _hash(s.tobytes() for s in shards)
        return found
    root = Path(config.data.root)
    for task in dict.fromkeys(task for name in names for task in tasks_of(name)):
        own = is_private(task)
        path = private_train_file(root, task) if own else root / dataset(task).train_path
        if path.is_file():
            found[f"{task} (training file)"] = _hash(_content(path))
    if config.data.partition == "files":
        folder = partition_folder(root, config.setting, config.beta)
        for stage in stage_folders(folder):
            files = (part for file in client_files(stage) for part in _content(file))
            found[f"partition {stage.name}"] = _hash(files)
    found["the number of clients"] = str(clients)
    return found


def samples_digest(samples: Iterable[Sample]) -> str:
    """Hash of samples' identifiers, questions and answers; pictures are not read."""
    return _hash(
        repr((s.identifier, s.question, s.answer, *s.references)).encode() for s in samples
    )


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            yield part


def _hash(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()

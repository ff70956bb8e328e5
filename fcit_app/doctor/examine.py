"""Examine a folder of data, file by file; nothing is changed and no model is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fcit_app.data.catalogue import Setting
from fcit_app.data.folder.datasets import (
    DATASETS,
    FETCH_INSTRUCTIONS,
    INSTRUCTIONS,
    PICTURES,
    Dataset,
    dataset,
)
from fcit_app.data.folder.defects import Defect
from fcit_app.data.folder.partition import client_files, partitions_in, stage_folders, stage_name
from fcit_app.data.folder.private import in_fcit_layout, json_files
from fcit_app.data.folder.reader import (
    Parse,
    asking_parser,
    private_parser,
    read_records,
    training_parser,
)
from fcit_app.data.folder.write_partition import MANIFEST, manifest_problems
from fcit_app.doctor.counting import TokenCounter
from fcit_app.doctor.findings import Findings
from fcit_app.doctor.pictures import PictureCheck
from fcit_app.doctor.records import Counts, Examiner, Seen
from fcit_app.doctor.report import DatasetReport, FileReport, Kind, PartitionReport, Report
from fcit_app.errors import DataError


@dataclass(frozen=True)
class Progress:
    """Who is told how far it is.

    Parameters
    ----------
    total : Callable[[int], None]
        Told once how many bytes of JSON there are.
    part : Callable[[str], None]
        Told what is examined now.
    read : Callable[[int], None]
        Told how many more bytes have been read.
    """

    total: Callable[[int], None] = field(default=lambda size: None)
    part: Callable[[str], None] = field(default=lambda name: None)
    read: Callable[[int], None] = field(default=lambda size: None)


def examine(
    root: Path,
    tasks: Sequence[str] = (),
    tokenizer: Path | None = None,
    whole_pictures: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Examine a root in FCIT's layout, a client's part of it, or any folder of LLaVA-style JSON.

    Memory holds a few checksums of a record, and of one data set at a time.

    Parameters
    ----------
    root : Path
        In FCIT's layout (see ``in_fcit_layout``), with test records of private tasks or without;
        with partitions but no instructions it is a client's: only its shards are asked for.
    tasks : Sequence[str]
        Tasks that must be there; all twelve if none is named.
    tokenizer : Path, optional
        Folder of the text encoder's tokenizer.
    whole_pictures : bool
        Read each picture to its end; otherwise only see whether it is there.
    progress : Progress, optional
        Who is told how far it is.

    Raises
    ------
    DataError
        If the root or the tokenizer is missing, or a task is unknown.
    """
    started = time.perf_counter()
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder.")
    wanted = [dataset(name) for name in tasks] or list(DATASETS)
    counter, findings, progress = TokenCounter(tokenizer), Findings(), progress or Progress()
    visit = _Visit(root, findings, counter, whole_pictures, progress)
    shards = _shards(root)
    partitions: tuple[PartitionReport, ...] = ()
    kind: Kind = "benchmark"
    if not in_fcit_layout(root) and json_files(root):
        kind = "private"
        progress.total(_bytes(json_files(root)))
        datasets = tuple(visit.own(file, root) for file in json_files(root))
    elif shards and not (root / INSTRUCTIONS).is_dir():
        # A client's own machine: nothing but its shards and their pictures.
        kind = "shards"
        progress.total(2 * _bytes(shards))
        datasets = tuple(visit.own(file, root / PICTURES, training_parser) for file in shards)
        partitions = tuple(visit.partition(*found, judge=False) for found in partitions_in(root))
    else:
        paths = [path for entry in wanted for path in (entry.train_path, entry.test_path)]
        private = sorted(file.parent for file in (root / "private").glob("*/test.json"))
        own = [folder / name for folder in private for name in ("train.json", "test.json")]
        progress.total(_bytes([root / path for path in paths]) + _bytes(shards) + _bytes(own))
        datasets = tuple(visit.dataset(entry) for entry in wanted)
        datasets += tuple(visit.private(folder) for folder in private)
        partitions = tuple(visit.partition(*found) for found in partitions_in(root))
    return Report(
        root=str(root),
        kind=kind,
        datasets=datasets,
        partitions=partitions,
        findings=findings.all(),
        tokens=counter.how,
        pictures="read to their ends" if whole_pictures else "only looked for",
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class _Visit:
    root: Path
    findings: Findings
    counter: TokenCounter
    whole_pictures: bool
    progress: Progress

    def dataset(self, entry: Dataset) -> DatasetReport:
        """Examine the files and pictures of one FCIT data set."""
        self.progress.part(entry.name)
        have_pictures = True
        for folder in entry.picture_folders:
            if not (self.root / PICTURES / folder).is_dir():
                have_pictures = False
                self.findings.add(
                    "missing-folder",
                    entry.name,
                    f"{PICTURES}/{folder} (from {entry.pictures_from})",
                )
        with self._pictures(self.root / PICTURES, have_pictures) as pictures:
            examiner = Examiner(entry.name, self.findings, pictures, self.counter, entry)
            train, seen = self._file(
                examiner, entry.train_path, lambda: training_parser, entry.train_records
            )
            test, _ = self._file(
                examiner, entry.test_path, lambda: self._asking(entry), entry.test_records, seen
            )
        return DatasetReport(
            entry.name, entry.capability, train, test, entry.licence, entry.pictures_from
        )

    def private(self, folder: Path) -> DatasetReport:
        """Examine what the server has of a private task: test records, and perhaps training's."""
        train, test = folder / "train.json", folder / "test.json"
        if not train.is_file():
            return self.own(test, folder)
        name = str(folder.relative_to(self.root))
        self.progress.part(name)
        with self._pictures(folder, True) as pictures:
            examiner = Examiner(name, self.findings, pictures, self.counter, None)
            trained, seen = self._file(examiner, f"{name}/train.json", _private, None)
            asked, _ = self._file(examiner, f"{name}/test.json", _private, None, seen)
        return DatasetReport(name, None, trained, asked, None, None)

    def own(self, file: Path, pictures_root: Path, parse: Parse = private_parser) -> DatasetReport:
        """Examine one JSON file of a client's own."""
        name = str(file.relative_to(self.root))
        self.progress.part(name)
        if not pictures_root.is_dir():
            self.findings.add("missing-folder", name, str(pictures_root))
        with self._pictures(pictures_root, pictures_root.is_dir()) as pictures:
            examiner = Examiner(name, self.findings, pictures, self.counter, None)
            counts, seen = examiner.file(file, parse, self.progress.read)
        return DatasetReport(name, None, _report(name, counts, seen), None, None, None)

    def partition(self, setting: Setting, folder: Path, judge: bool = True) -> PartitionReport:
        """Read order and counts of a partition from its shards; ``judge`` their records too.

        Pictures are not looked at: the training files name them all.
        """
        where = str(folder.relative_to(self.root))
        self.progress.part(where)
        names, records, clients = [], 0, set()
        for stage in stage_folders(folder):
            files = client_files(stage)
            clients.add(len(files))
            try:
                names.append(stage_name(stage, setting))
                records += sum(self._shard(where, file, judge) for file in files)
            except DataError as error:
                self.findings.add("partition", where, str(error))
        if not names:
            self.findings.add("partition", where, "it has no stage 'Task<i>' that can be read")
        if len(clients) > 1:
            self.findings.add(
                "partition", where, f"its stages have {sorted(clients)} clients, not one number"
            )
        for problem in manifest_problems(folder):
            self.findings.add("partition", where, problem)
        has_manifest = (folder / MANIFEST).is_file()
        return PartitionReport(where, tuple(names), max(clients, default=0), records, has_manifest)

    def _shard(self, where: str, file: Path, judge: bool) -> int:
        records = 0
        for found in read_records(file, training_parser, self.progress.read):
            records += 1
            if judge and isinstance(found, Defect):
                self.findings.add(found.kind, where, str(found))
        return records

    def _file(
        self,
        examiner: Examiner,
        path: str,
        parser: Callable[[], Parse],
        expected: int | None,
        training: Seen | None = None,
    ) -> tuple[FileReport, Seen]:
        file = self.root / path
        if not file.is_file():
            self._missing(examiner.where, path)
            return FileReport(path, None, 0, 0, expected), Seen()
        try:
            parse = parser()
        except DataError as error:
            self.findings.add("unusable-file", examiner.where, str(error))
            return FileReport(path, None, 0, 0, expected), Seen()
        counts, seen = examiner.file(file, parse, self.progress.read, training)
        return _report(path, counts, seen, expected), seen

    def _asking(self, entry: Dataset) -> Parse:
        path = entry.captions_path
        if path is not None and not (self.root / path).is_file():
            raise DataError(f"{path} is missing (from {FETCH_INSTRUCTIONS})")
        return asking_parser(self.root / path if path else None)

    def _missing(self, where: str, path: str) -> None:
        self.findings.add("missing-file", where, f"{path} (from {FETCH_INSTRUCTIONS})")

    def _pictures(self, folder: Path, there: bool) -> PictureCheck | nullcontext[None]:
        return PictureCheck(folder, self.whole_pictures) if there else nullcontext()


def _private() -> Parse:
    return private_parser


def _report(
    path: str, counts: Counts | None, seen: Seen, expected: int | None = None
) -> FileReport:
    if counts is None:
        return FileReport(path, None, 0, len(seen.paths), expected)
    return FileReport(
        path, counts.records, counts.samples, len(seen.paths), expected, counts.text_alone
    )


def _shards(root: Path) -> list[Path]:
    return [
        file
        for _, folder in partitions_in(root)
        for stage in stage_folders(folder)
        for file in client_files(stage)
    ]


def _bytes(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())

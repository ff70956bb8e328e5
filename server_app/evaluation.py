"""Evaluation shared out: clients answer whole batches of the server's plan and tell what adds up.

The scores are those of an evaluation in one place, to the last bit. What a client does not answer
well goes to another one once, and what is left is answered here: the server has all test samples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fcit_app.config import RunConfig
from fcit_app.data.fingerprint import samples_digest
from fcit_app.data.load import Benchmark
from fcit_app.data.sample import Sample
from fcit_app.errors import DataError
from fcit_app.evaluate.evaluator import Evaluator, TaskScore
from fcit_app.evaluate.predictions import Prediction, PredictionFile
from fcit_app.evaluate.predictor import Batch, Predictor, predicted
from fcit_app.evaluate.shard import TaskTally, answer_shard, by_task, deal_batches, tally
from fcit_app.evaluate.shard_message import Said, ShardOrder, write_order
from fcit_app.model.bank import Bank
from fcit_app.parcel import PARCEL, pack
from fcit_app.runs import RunFolder
from server_app.exchange import exchange
from server_app.journal import Journal
from server_app.loop import Federation
from server_app.shard_replies import read_shard
from strategies.records import CONFIG

BANK, SHARD = "bank", "shard"
"""Record of the bank, a parcel of arrays; keys of its facts and of the order, in the settings."""

_ATTEMPTS = 2  # all clients; then, for what is left, those that answered well

Traffic = Callable[[int, int], None]
"""Takes bytes up and down."""

Keep = Callable[[int, Sequence[Prediction]], None]
"""Takes a stage and all predictions of its evaluation."""


class SharedEvaluation:
    """Scores banks with the help of clients.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    nodes : Callable[[], Mapping[int, int]]
        Tells who is here: client to node; empty if the server is to answer everything.
    config : RunConfig
        The run's configuration.
    benchmark : Benchmark
        Gives the test samples.
    evaluator : Evaluator
        Of the same, for what the server answers.
    journal : Journal
        Where shards are reported.
    traffic : Traffic
        Told of the bytes that go to and fro.
    keep : Keep or None
        Takes the predictions; None leaves them with the clients.
    """

    def __init__(
        self,
        grid: Grid,
        nodes: Callable[[], Mapping[int, int]],
        config: RunConfig,
        benchmark: Benchmark,
        evaluator: Evaluator,
        journal: Journal,
        traffic: Traffic,
        keep: Keep | None = None,
    ) -> None:
        self._grid = grid
        self._look = nodes
        self._nodes: Mapping[int, int] = {}
        self._config = config
        self._benchmark = benchmark
        self._evaluator = evaluator
        self._journal = journal
        self._traffic = traffic
        self._keep = keep
        self._scoring = config.evaluate.scoring
        self._plans: dict[str, list[Batch]] = {}
        self._digests: dict[str, str] = {}

    def scores(self, bank: Bank, stage: int, tasks: Sequence[str]) -> list[TaskScore]:
        """Score each task's test samples.

        Parameters
        ----------
        bank : Bank
            Empty for the plain base.
        stage : int
            The stage that has ended, 0 before the first: for the ledger.
        tasks : Sequence[str]
            Task names.
        """
        left = [batch for task in tasks for batch in self._plan(task)]
        evaluation = _Evaluation(bank, stage, {task: len(self._samples(task)) for task in tasks})
        self._nodes = self._look()
        clients = sorted(self._nodes)
        for attempt in range(_ATTEMPTS):
            if not (left and clients):
                break
            if attempt:
                self._pass_on(stage, left, clients)
            left, clients = self._ask(evaluation, left, clients)
        if left:
            if self._nodes:
                self._pass_on(stage, left, "server")
            self._answer(evaluation, left)
        if self._keep:
            self._keep(
                stage, [p for task in tasks for p in evaluation.predictions(self._samples(task))]
            )
        return [self._score(evaluation, task) for task in tasks]

    def _score(self, evaluation: _Evaluation, task: str) -> TaskScore:
        samples, answers = self._samples(task), list[str]()
        if samples[0].references:
            answers = [said.answer for said in evaluation.predictions(samples)]
        return evaluation.tallies[task].score(samples, self._scoring, answers)

    def _samples(self, task: str) -> Sequence[Sample]:
        return self._benchmark.test_samples(task)

    def _plan(self, task: str) -> list[Batch]:
        if task not in self._plans:
            predictor = Predictor(self._config, self._benchmark, Bank(), evaluator=self._evaluator)
            activation = self._config.activation
            self._plans[task] = [Batch(task, activation, p) for p in predictor.plan(task)]
            self._digests[task] = samples_digest(self._samples(task))
        return self._plans[task]

    def _ask(
        self, evaluation: _Evaluation, batches: Sequence[Batch], clients: Sequence[int]
    ) -> tuple[list[Batch], list[int]]:
        """Let clients answer; give the batches that nobody did, and the clients who did."""
        dealt = deal_batches(batches, clients)
        messages = self._messages(evaluation, dealt)
        self._traffic(0, sum(map(record_bytes, messages.values())))
        started = time.perf_counter()
        replies = exchange(self._grid, messages.values(), self._config.client_timeout)
        silent = dict(messages)
        good: list[int] = []
        for reply in replies:
            wanted = reply.metadata.reply_to_message_id
            client = next(c for c, m in silent.items() if m.metadata.message_id == wanted)
            seconds = time.perf_counter() - started
            sent = silent.pop(client)
            try:
                self._take(evaluation, client, dealt[client], sent, reply, seconds)
            except DataError as error:
                self._reject(evaluation.stage, client, dealt[client], str(error))
            else:
                good.append(client)
        late = f"no reply within {self._config.client_timeout:g} s (client-timeout)"
        for client in silent:
            self._reject(evaluation.stage, client, dealt[client], late)
        left = [b for client, shard in dealt.items() if client not in good for b in shard]
        return left, sorted(good)

    def _messages(
        self, evaluation: _Evaluation, dealt: Mapping[int, Sequence[Batch]]
    ) -> dict[int, Message]:
        arrays, facts = evaluation.bank.to_arrays()
        record = ArrayRecord({PARCEL: Array(pack(arrays))})
        messages = {}
        for client, batches in dealt.items():
            asked = by_task(batches)
            order = ShardOrder(
                {task: [batch.places for batch in shard] for task, shard in asked.items()},
                {task: self._digests[task] for task in asked},
                self._wanted(asked),
            )
            config = ConfigRecord(
                {"stage": evaluation.stage, BANK: json.dumps(facts), SHARD: write_order(order)}
            )
            content = RecordDict({BANK: record, CONFIG: config})
            messages[client] = Message(content, self._nodes[client], MessageType.EVALUATE)
        return messages

    def _take(
        self,
        evaluation: _Evaluation,
        client: int,
        batches: Sequence[Batch],
        sent: Message,
        reply: Message,
        seconds: float,
    ) -> None:
        """Judge a reply and add it to the evaluation; raises ``DataError`` with what is wrong."""
        up, down = record_bytes(reply), record_bytes(sent)
        self._traffic(up, 0)
        asked = {t: [p for b in shard for p in b.places] for t, shard in by_task(batches).items()}
        report = read_shard(reply, client, asked, evaluation.routed, self._wanted(asked))
        predictions = {
            task: self._predictions(task, asked[task], report.said[task]) for task in report.said
        }
        for task, found in predictions.items():
            if tally(found, self._scoring) != report.tallies[task]:
                raise DataError(f"{task}: counts and sums are not those of the answers")
        evaluation.add(report.tallies, predictions)
        self._tell(evaluation, client, batches, seconds, {"up": up, "down": down})

    def _answer(self, evaluation: _Evaluation, batches: Sequence[Batch]) -> None:
        """Answer batches here."""
        started = time.perf_counter()
        evaluator = self._evaluator
        with Predictor(self._config, self._benchmark, evaluation.bank, "test", evaluator) as here:
            predictions = answer_shard(here, batches)
        evaluation.add(
            {task: tally(said, self._scoring) for task, said in predictions.items()}, predictions
        )
        seconds = time.perf_counter() - started
        self._tell(evaluation, None, batches, seconds, {"up": 0, "down": 0})

    def _wanted(self, tasks: Iterable[str]) -> list[str]:
        """Tasks of which the answers themselves are wanted: captions are scored together."""
        return [task for task in tasks if self._keep or self._samples(task)[0].references]

    def _predictions(
        self, task: str, places: Sequence[int], answers: Sequence[Said]
    ) -> list[Prediction]:
        samples = self._samples(task)
        return [
            predicted(samples[place], said.answer, said.weights)
            for place, said in zip(places, answers, strict=True)
        ]

    def _tell(
        self,
        evaluation: _Evaluation,
        client: int | None,
        batches: Sequence[Batch],
        seconds: float,
        traffic: Mapping[str, int],
    ) -> None:
        """Report who (None: the server) answered a shard, and how far the evaluation is."""
        stage = evaluation.stage
        self._journal.write(
            "shard-evaluated",
            stage=stage,
            client=client,
            questions=_questions(batches),
            seconds=round(seconds, 3),
            bytes=traffic,
        )
        done, total = evaluation.progress
        self._journal.write("evaluate-progress", stage=stage, done=done, total=total)

    def _reject(self, stage: int, client: int, batches: Sequence[Batch], reason: str) -> None:
        self._journal.write(
            "shard-rejected",
            stage=stage,
            client=client,
            questions=_questions(batches),
            reason=reason,
        )

    def _pass_on(self, stage: int, batches: Sequence[Batch], to: Sequence[int] | str) -> None:
        self._journal.write("shards-passed-on", stage=stage, questions=_questions(batches), to=to)


def shared_evaluation(
    grid: Grid,
    config: RunConfig,
    benchmark: Benchmark,
    evaluator: Evaluator,
    journal: Journal,
    federation: Federation,
    folder: RunFolder,
) -> SharedEvaluation | None:
    """Make the evaluation that a run's configuration asks for; None for the server's plain one."""
    settings = config.evaluate
    if settings.where == "server" and not settings.predictions:
        return None

    def count(up: int, down: int) -> None:
        federation.totals.up += up
        federation.totals.down += down

    def keep(stage: int, predictions: Sequence[Prediction]) -> None:
        PredictionFile(folder.predictions_file(stage)).replace(predictions)

    asked = federation.present if settings.where == "clients" else dict
    kept = keep if settings.predictions else None
    return SharedEvaluation(grid, asked, config, benchmark, evaluator, journal, count, kept)


class _Evaluation:
    """The evaluation of one bank: what has been counted so far."""

    def __init__(self, bank: Bank, stage: int, questions: Mapping[str, int]) -> None:
        self.bank = bank
        self.stage = stage
        self.tallies: dict[str, TaskTally] = {}
        self._questions = questions
        self._predictions: dict[str, dict[str, Prediction]] = {}

    @property
    def routed(self) -> int | None:
        """How many subspaces questions choose among; None if they do not choose."""
        subspaces = self.bank.subspaces
        return len(subspaces) if any(subspace.token for subspace in subspaces) else None

    @property
    def progress(self) -> tuple[int, int]:
        """Questions that are counted, and all."""
        done = sum(found.questions for found in self.tallies.values())
        return done, sum(self._questions.values())

    def add(
        self,
        tallies: Mapping[str, TaskTally],
        predictions: Mapping[str, Sequence[Prediction]],
    ) -> None:
        """Count a shard."""
        for task, found in tallies.items():
            known = self.tallies.get(task)
            self.tallies[task] = known + found if known else found
        for task, said in predictions.items():
            self._predictions.setdefault(task, {}).update({e.identifier: e for e in said})

    def predictions(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Predictions of all samples of a task, in their order."""
        found = self._predictions[samples[0].task]
        return [found[sample.identifier] for sample in samples]


def record_bytes(message: Message) -> int:
    """Bytes of all that a message holds: a report is no array."""
    if not message.has_content():
        return 0
    content = message.content
    arrays = sum(record.count_bytes() for record in content.array_records.values())
    return arrays + sum(record.count_bytes() for record in content.config_records.values())


def _questions(batches: Sequence[Batch]) -> int:
    return sum(len(batch.places) for batch in batches)

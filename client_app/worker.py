"""What a worker process keeps between messages: base model, encoder, samples, vision features.

All of it is decided by the configuration, so it makes no difference to a result which client ran
before in the same process. The base model is loaded once a process, not once a client or round.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig, parse
from fcit_app.data.catalogue import is_private
from fcit_app.data.folder.defects import summary
from fcit_app.data.folder.private import (
    ROOT_KEY,
    OwnData,
    PrivateData,
    chosen,
    private_samples,
    private_train_file,
)
from fcit_app.data.lesson import Lesson, lesson_text, tasks_in
from fcit_app.data.load import Benchmark, load_benchmark, skipped_training
from fcit_app.data.partition import seed_of
from fcit_app.data.sample import Sample
from fcit_app.data.stages import Stage, lesson_samples, make_stages
from fcit_app.errors import DataError
from fcit_app.evaluate.evaluator import Evaluator
from fcit_app.evaluate.predictor import Batch, Predictor
from fcit_app.evaluate.shard import answer_shard, check_samples
from fcit_app.evaluate.shard_message import read_order, report_of, write_report
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.privacy import check_enough, clipped, deviation, noised
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken
from fcit_app.methods import load_method
from fcit_app.methods.state import Importance
from fcit_app.model.adapters import is_adapter
from fcit_app.model.bank import Bank
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.features import SampleFeatures, sample_features
from fcit_app.model.prompt import fitting
from fcit_app.model.threads import use_one_thread
from fcit_app.model.vision import VisionFeatures, vision_features
from fcit_app.train.loop import fit
from fcit_app.train.result import FitResult
from fcit_app.train.settings import local_training

_LOGGER = logging.getLogger(__name__)

_NOTHING: Mapping[str, Arrays] = MappingProxyType({})


@lru_cache(maxsize=1)
def own_worker(text: str, own: OwnData | None = None) -> Worker:
    """Give this process's worker: the same one for the same configuration and folder.

    Parameters
    ----------
    text : str
        The run's configuration as JSON; see ``client_app.node``.
    own : OwnData, optional
        The node's own data.
    """
    return Worker(parse(json.loads(text)), own)


class Worker:
    """Answers for any client of a run, or for the one whose own data it is given.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    own : OwnData, optional
        The node's: a private task, or a folder that takes the place of ``data.root``.
    """

    def __init__(self, config: RunConfig, own: OwnData | None = None) -> None:
        use_one_thread()
        self._own_task = own if own and own.task else None
        if own and not own.task:
            data = config.data.model_copy(update={"root": str(own.root)})
            config = config.model_copy(update={"data": data})
        self.config = config
        self._method = load_method(config)
        self._fitting: dict[tuple[int, int, int, Lesson], tuple[Sample, ...]] = {}

    @cached_property
    def _stages(self) -> tuple[Stage, ...]:
        # Only now: told its lessons by the server, a client needs no scenario file of its own.
        return make_stages(self.config)

    @cached_property
    def _benchmark(self) -> Benchmark:
        return load_benchmark(self.config)

    @cached_property
    def _private(self) -> tuple[Sample, ...]:
        """All that this node learns, if it has a private task."""
        own, data = self._own_task, self.config.data
        if own is None:
            return ()
        found = self._private_data
        if found.skipped:
            _LOGGER.warning("%s: %s", own.task, summary(found.skipped))
        return chosen(found.samples, data.train_samples, seed_of(self.config.seed, own.task))

    @cached_property
    def _private_data(self) -> PrivateData:
        own = self._own_task
        assert own is not None
        return private_samples(own.root, own.task, self.config.data.on_bad_sample)

    @cached_property
    def _base(self) -> BaseModel:
        return load_base(self.config.model)

    @cached_property
    def _vision(self) -> VisionFeatures:
        return vision_features(self._base, self.config.data)

    @cached_property
    def _features(self) -> SampleFeatures:
        identity = self.config.identity
        encoder = load_encoder(identity.encoder)
        return sample_features(identity.token, encoder, self._vision, identity.dimension)

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.config, self._benchmark)

    def prepare(self) -> None:
        """Load the base model and the text encoder."""
        load_encoder(self.config.identity.encoder)
        self._method.wrap(self._base)

    def lesson(self, stage: int, told: Lesson = ()) -> Lesson:
        """Say what is learnt in a stage (numbered from 1): what was told, or all of it.

        A node with a private task learns that and nothing else; one that the scenario names may
        also be dealt from ``data.root``.

        Raises
        ------
        DataError
            If there is no such stage, or it is told another node's private task, or not its own.
        """
        own = () if self._own_task is None else (self._own_task.task,)
        if told and told != own and (own or any(map(self._is_anothers, told))):
            raise DataError(
                f"This client was told to learn {lesson_text(told)}, but its own data are "
                f"{lesson_text(own) or 'none'}. Restart the run after a change of {ROOT_KEY}, "
                "data-task or data-stages in --node-config."
            )
        if told or own:
            return told or own
        if not 1 <= stage <= len(self._stages):
            raise DataError(f"There is no stage {stage}; the run has {len(self._stages)} stages.")
        return self._stages[stage - 1].timetable.whole

    def _is_anothers(self, task: str) -> bool:
        """Whether a task's training records are another node's."""
        root = self.config.data.root
        shared = bool(root) and private_train_file(Path(root), task).is_file()
        return is_private(task) and not shared

    def samples(
        self, stage: int, client: int, clients: int, lesson: Lesson = ()
    ) -> tuple[Sample, ...]:
        """Give a client's training samples of a lesson, or of a whole stage if it is empty.

        Raises
        ------
        DataError
            If there is no such stage or client.
        """
        held = self._held(stage, client, clients, lesson)
        data = self.config.data
        if data.on_bad_sample != "skip" or not (data.root or self._own_task):
            return held
        asked = (stage, client, clients, lesson)
        if asked not in self._fitting:  # tokenised once, though a round asks several times
            self._fitting = {asked: fitting(self._base, held)}
        return self._fitting[asked]

    def _held(self, stage: int, client: int, clients: int, lesson: Lesson) -> tuple[Sample, ...]:
        """All of a client's samples of a lesson, also those that are too long for the base."""
        learnt = self.lesson(stage, lesson)
        if not 0 <= client < clients:
            raise DataError(f"There is no client {client} among {clients} clients.")
        if self._own_task:
            return self._private
        return lesson_samples(self._benchmark, self.config, learnt, client, clients)

    def skipped(
        self, stage: int, client: int, clients: int, lesson: Lesson = ()
    ) -> tuple[int, str]:
        """Say how many records were left out of what ``samples`` gives, and which; 0 and nothing.

        With ``data.on-bad-sample = skip``. A file that is dealt to several clients counts whole.
        """
        if self.config.data.on_bad_sample != "skip":
            return 0, ""
        kept = {sample.identifier for sample in self.samples(stage, client, clients, lesson)}
        held = self._held(stage, client, clients, lesson)
        long = [sample.identifier for sample in held if sample.identifier not in kept]
        if self._own_task:
            found = self._private_data.skipped
        else:
            learnt = self.lesson(stage, lesson)
            found = skipped_training(self._benchmark, {*learnt, *tasks_in(learnt)}, client)
        told = [summary(found)] if found else []
        if long:
            told.append(
                f"{len(long)} records skipped, which are longer than the base's context of "
                f"{self._base.max_length} tokens; the first: {long[0]}"
            )
        return len(found) + len(long), ". ".join(told)

    def token(self, stage: int, client: int, clients: int, lesson: Lesson = ()) -> IdentityToken:
        """Make the client's identity token: from instructions or pictures, never from answers.

        With ``identity.noise`` each call draws anew: what is given to the server has to be kept and
        given again (``client_app.given_tokens``), or the noise would average out.

        Raises
        ------
        DataError
            If there is no such stage or client, or it holds too few samples to give a token.
        """
        identity = self.config.identity
        samples = self.samples(stage, client, clients, lesson)
        check_enough(len(samples), identity.min_samples, f"client {client}")
        bounded = clipped(self._features.of(samples), identity.clip)
        token = with_prototypes(bounded, identity.prototypes, identity.min_samples)
        if identity.noise == 0.0:
            return token
        return noised(token, deviation(identity.clip, identity.noise))

    def train(
        self,
        arrays: Arrays,
        stage: int,
        server_round: int,
        client: int,
        clients: int,
        proximal_mu: float = 0.0,
        lesson: Lesson = (),
        memory: Mapping[str, Arrays] = _NOTHING,
    ) -> tuple[FitResult, dict[str, int]]:
        """Fine-tune what the server sent on the client's samples.

        Parameters
        ----------
        arrays : Arrays
            An adapter, and the projector if the configuration lets it be trained. Anything else is
            refused before it can touch the model.
        stage, server_round : int
            Count from 1; with seed and client they seed this training.
        client, clients : int
            Which client of how many.
        proximal_mu : float
            How strongly training is held near the arrays sent (FedProx).
        lesson : Lesson
            What the client learns; the whole stage if empty.
        memory : Mapping[str, Arrays]
            What the method remembers of earlier stages.

        Returns
        -------
        tuple
            The trained arrays with what happened on the way, and the number of samples of each of
            the lesson's tasks.

        Raises
        ------
        ModelError
            If a name, shape or value does not fit; the model is unchanged then.
        DataError
            If there is no such stage or client.
        TrainingError
            If training diverges.
        """
        samples = self.samples(stage, client, clients, lesson)
        settings = local_training(self.config, proximal_mu=proximal_mu)
        settings = replace(settings, learning_rate=self._method.learning_rate)
        handles = self._method.handles(self._base, self._trains_projector(arrays))
        with self._method.local(self._base, handles, memory) as objective:
            result = fit(
                self._base,
                handles,
                arrays,
                samples,
                self._vision,
                seed_of(self.config.seed, "fit", stage, server_round, client) % 2**63,
                settings,
                client=f"client {client}",
                objective=objective,
            )
        counts = Counter(sample.task for sample in samples)
        return result, {task: counts[task] for task in tasks_in(self.lesson(stage, lesson))}

    def importance(
        self, arrays: Arrays, stage: int, client: int, clients: int, lesson: Lesson = ()
    ) -> Importance:
        """Measure how much this client's answers in a stage depend on each value sent.

        Raises
        ------
        ModelError, DataError
            See ``train``.
        RunError
            If the method measures nothing of the kind.
        """
        samples = self.samples(stage, client, clients, lesson)
        seed = seed_of(self.config.seed, "importance", stage, client)
        handles = self._method.handles(self._base, self._trains_projector(arrays))
        return self._method.importance(self._base, handles, arrays, samples, self._vision, seed)

    def evaluate(self, arrays: Arrays, facts: str, order: str) -> tuple[str, int]:
        """Answer a shard of the test questions with a bank.

        Parameters
        ----------
        arrays : Arrays
            The bank's.
        facts : str
            JSON of what else is to know of it, see ``Bank.to_arrays``.
        order : str
            JSON of what is asked, see ``fcit_app.evaluate.shard_message``.

        Returns
        -------
        tuple
            JSON of the report, and how many questions were answered.

        Raises
        ------
        ModelError
            If the bank is malformed or does not fit the model, which is unchanged then.
        DataError
            If the order is malformed, or the test samples here are not the server's.
        """
        asked = read_order(order)
        check_samples(self._benchmark, asked.digests)
        batches = [
            Batch(task, self.config.activation, tuple(places))
            for task, shard in asked.batches.items()
            for places in shard
        ]
        bank, evaluator = Bank.from_arrays(arrays, json.loads(facts)), self._evaluator
        with Predictor(self.config, self._benchmark, bank, "test", evaluator) as predictor:
            predictions = answer_shard(predictor, batches)
        report = write_report(report_of(predictions, asked, self.config.evaluate.scoring))
        return report, sum(map(len, predictions.values()))

    def _trains_projector(self, arrays: Arrays) -> bool:
        """Whether the projector is among what was sent, as it may be."""
        return self.config.projector != "frozen" and not all(map(is_adapter, arrays))

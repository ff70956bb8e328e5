"""What a worker process keeps between messages: base model, encoder, samples, vision features.

All of it is decided by the configuration, so it makes no difference to a result which client ran
before in the same process. The base model is loaded once a process, not once a client or round.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from types import MappingProxyType

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig, parse
from fcit_app.data.lesson import Lesson, tasks_in
from fcit_app.data.load import Benchmark, load_benchmark
from fcit_app.data.partition import seed_of
from fcit_app.data.sample import Sample
from fcit_app.data.stages import Stage, lesson_samples, make_stages
from fcit_app.errors import DataError
from fcit_app.identity.encoders import load_encoder
from fcit_app.identity.prototypes import with_prototypes
from fcit_app.identity.tokens import IdentityToken
from fcit_app.methods import load_method
from fcit_app.methods.state import Importance
from fcit_app.model.adapters import is_adapter
from fcit_app.model.base import BaseModel, load_base
from fcit_app.model.features import sample_features
from fcit_app.model.threads import use_one_thread
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.loop import fit
from fcit_app.train.result import FitResult
from fcit_app.train.settings import local_training

_NOTHING: Mapping[str, Arrays] = MappingProxyType({})


@lru_cache(maxsize=1)
def own_worker(text: str) -> Worker:
    """Give this process's worker of a run configuration as JSON; see ``client_app.node``."""
    return Worker(parse(json.loads(text)))


class Worker:
    """Answers for any client of a run.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    """

    def __init__(self, config: RunConfig) -> None:
        use_one_thread()
        self.config = config
        self._method = load_method(config)

    @cached_property
    def _stages(self) -> tuple[Stage, ...]:
        # Only now: told its lessons by the server, a client needs no scenario file of its own.
        return make_stages(self.config)

    @cached_property
    def _benchmark(self) -> Benchmark:
        return load_benchmark(self.config)

    @cached_property
    def _base(self) -> BaseModel:
        return load_base(self.config.model)

    @cached_property
    def _vision(self) -> VisionFeatures:
        return VisionFeatures(self._base)

    def prepare(self) -> None:
        """Load the base model and the text encoder."""
        load_encoder(self.config.identity.encoder)
        self._method.wrap(self._base)

    def lesson(self, stage: int) -> Lesson:
        """All that is learnt in a stage (numbered from 1), as one lesson.

        Raises
        ------
        DataError
            If there is no such stage.
        """
        if not 1 <= stage <= len(self._stages):
            raise DataError(f"There is no stage {stage}; the run has {len(self._stages)} stages.")
        return self._stages[stage - 1].timetable.whole

    def samples(
        self, stage: int, client: int, clients: int, lesson: Lesson = ()
    ) -> tuple[Sample, ...]:
        """Give a client's training samples of a lesson, or of a whole stage if it is empty.

        Raises
        ------
        DataError
            If there is no such stage or client.
        """
        chosen = lesson or self.lesson(stage)
        if not 0 <= client < clients:
            raise DataError(f"There is no client {client} among {clients} clients.")
        return lesson_samples(self._benchmark, self.config, chosen, client, clients)

    def token(self, stage: int, client: int, clients: int, lesson: Lesson = ()) -> IdentityToken:
        """Make the client's identity token: from instructions or pictures, never from answers."""
        identity = self.config.identity
        encoder = load_encoder(identity.encoder)
        features = sample_features(identity.token, encoder, self._vision)
        samples = self.samples(stage, client, clients, lesson)
        return with_prototypes(features.of(samples), identity.prototypes)

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
        return result, {task: counts[task] for task in tasks_in(lesson or self.lesson(stage))}

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

    def _trains_projector(self, arrays: Arrays) -> bool:
        """Whether the projector is among what was sent, as it may be."""
        return self.config.projector != "frozen" and not all(map(is_adapter, arrays))

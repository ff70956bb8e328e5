"""Accuracy of a bank on the benchmark's test samples, and how it was activated for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from fcit_app.config import RunConfig
from fcit_app.data.load import Benchmark
from fcit_app.data.sample import Sample
from fcit_app.evaluate.activation_summary import ActivationSummary, summarise_weights
from fcit_app.evaluate.answer import answer, question_weights
from fcit_app.evaluate.general import SkillScores, held_out_skills, said_exactly, score_skills
from fcit_app.evaluate.scoring import Scoring
from fcit_app.evaluate.statistics import Statistics, final, measure
from fcit_app.identity.encoders import load_encoder
from fcit_app.methods import load_method
from fcit_app.model.activation import Activation
from fcit_app.model.adapters import check_projector
from fcit_app.model.bank import Bank
from fcit_app.model.base import load_base
from fcit_app.model.features import sample_features
from fcit_app.model.stacked import BankSession
from fcit_app.model.threads import use_one_thread
from fcit_app.model.vision import vision_features


@dataclass(frozen=True)
class TaskScore:
    """How a bank did on one task's test samples.

    Parameters
    ----------
    task : str
        Name.
    accuracy : float
        Percent.
    activation : ActivationSummary or None
        None for a bank without identity tokens: nothing is routed there.
    metric : str
        What the accuracy is, see ``Score``; empty if not told.
    parts : Mapping[str, float]
        The scores whose mean it is, see ``Score``; empty for a share of right answers.
    """

    task: str
    accuracy: float
    activation: ActivationSummary | None
    metric: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)


class Evaluator:
    """Scores banks; keeps the base, the samples and their vision features between calls.

    Parameters
    ----------
    config : RunConfig
        Gives base model, encoder, activation, routing, scoring and batch size.
    benchmark : Benchmark
        Gives the test samples.
    """

    def __init__(self, config: RunConfig, benchmark: Benchmark) -> None:
        use_one_thread()
        self.config = config
        self._benchmark = benchmark
        self.base = load_base(config.model)
        check_projector(self.base, config.projector)
        self.model = load_method(config).wrap(self.base)
        self.vision = vision_features(self.base, config.data)
        encoder = load_encoder(config.identity.encoder)
        # Only DISCO has tokens; L2P's queries are questions, as the encoder sees them.
        identity, tokens = config.identity, config.method == "disco"
        source, dimension = (identity.token, identity.dimension) if tokens else ("text", 0)
        self._features = sample_features(source, encoder, self.vision, dimension)

    def session(self, bank: Bank) -> BankSession:
        """Make ready to install a bank in the base, see ``BankSession``."""
        return BankSession(self.base, bank, open_world=self.config.identity.open_world > 0)

    def scores(
        self, bank: Bank, tasks: Sequence[str], done: Callable[[str, int], None] | None = None
    ) -> list[TaskScore]:
        """Score each task's test samples.

        Parameters
        ----------
        bank : Bank
            Empty for the plain base.
        tasks : Sequence[str]
            Task names.
        done : Callable[[str, int], None], optional
            Called after each task with its name and how many tasks are done.
        """
        found = []
        with self.session(bank) as session:
            for number, name in enumerate(tasks, start=1):
                samples = self._benchmark.test_samples(name)
                weights = self.weights(session, samples)
                activation = None if session.tokens is None else summarise_weights(weights)
                statistics = self._measure(session, samples, weights)
                found.append(task_score(name, statistics, activation))
                if done is not None:
                    done(name, number)
        return found

    def accuracy(
        self, bank: Bank, tasks: Sequence[str], done: Callable[[str, int], None] | None = None
    ) -> list[float]:
        """Percentage of right answers on each task's test samples, see ``scores``."""
        return [found.accuracy for found in self.scores(bank, tasks, done)]

    def accuracy_on(self, bank: Bank, samples: Sequence[Sample]) -> float:
        """Score in percent on any samples of one task."""
        with self.session(bank) as session:
            return final(self._measure(session, samples, self.weights(session, samples))).percent

    def general(self, bank: Bank) -> SkillScores:
        """Score the held-out questions of the base's own skills.

        They are routed like any others. Only the base ``mini`` has such questions.
        """
        samples = self._skills
        with self.session(bank) as session:
            weights = self.weights(session, samples)
            size = self.config.evaluate.batch_size
            right = said_exactly(session, samples, self.vision, weights, size)
        return score_skills(samples, right)

    def weights(
        self,
        session: BankSession,
        samples: Sequence[Sample],
        activation: Activation | None = None,
    ) -> Tensor:
        """Weights of each sample's subspaces, see ``question_weights``.

        Parameters
        ----------
        session : BankSession
            Entered, with the bank that is asked.
        samples : Sequence[Sample]
            Those of one task, as a whole: what is routed or encoded together decides the last bits.
        activation : Activation, optional
            The configuration's by default.
        """
        evaluation = self.config.evaluate
        return question_weights(
            session,
            samples,
            self._features,
            activation or self.config.activation,
            self.config.identity.temperature,
            evaluation.batch_size if evaluation.routing == "batch" else 1,
            self.config.identity.open_world,
        )

    @cached_property
    def _skills(self) -> tuple[Sample, ...]:
        return held_out_skills(self.base)

    def _measure(
        self, session: BankSession, samples: Sequence[Sample], weights: Tensor
    ) -> Statistics:
        evaluation = self.config.evaluate
        answers = answer(session, samples, self.vision, weights, evaluation.batch_size)
        return measure(samples, answers, evaluation.scoring)


def task_score(
    task: str, statistics: Statistics, activation: ActivationSummary | None
) -> TaskScore:
    """Score all of a task's answers, from their statistics."""
    found = final(statistics)
    return TaskScore(task, found.percent, activation, found.metric, found.parts)


def percent_right(
    samples: Sequence[Sample], answers: Sequence[str], scoring: Scoring = "paper"
) -> float:
    """Score of answers to one task's samples in percent, by the task's own metric."""
    return final(measure(samples, answers, scoring)).percent

"""Accuracy of a bank on the benchmark's test samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fcit_app.config import RunConfig
from fcit_app.data.catalogue import task as find_task
from fcit_app.data.load import Benchmark
from fcit_app.data.sample import Sample
from fcit_app.evaluate.answer import answer
from fcit_app.evaluate.metrics import score
from fcit_app.identity.encoders import load_encoder
from fcit_app.methods import load_method
from fcit_app.model.bank import Bank
from fcit_app.model.base import load_base
from fcit_app.model.stacked import BankSession
from fcit_app.model.threads import use_one_thread
from fcit_app.model.vision import VisionFeatures


class Evaluator:
    """Scores banks; keeps the base, the samples and their vision features between calls.

    Parameters
    ----------
    config : RunConfig
        Gives base model, encoder, activation and batch size.
    benchmark : Benchmark
        Gives the test samples.
    """

    def __init__(self, config: RunConfig, benchmark: Benchmark) -> None:
        use_one_thread()
        self.config = config
        self._benchmark = benchmark
        self.base = load_base(config.model.name)
        self.model = load_method(config).wrap(self.base)
        self.vision = VisionFeatures(self.base)
        self._encoder = load_encoder(config.identity.encoder)

    def accuracy(
        self, bank: Bank, tasks: Sequence[str], done: Callable[[str, int], None] | None = None
    ) -> list[float]:
        """Percentage of right answers on each task's test samples.

        Parameters
        ----------
        bank : Bank
            Empty for the plain base.
        tasks : Sequence[str]
            Task names.
        done : Callable[[str, int], None], optional
            Called after each task with its name and how many tasks are done.
        """
        row = []
        with BankSession(self.base, bank) as session:
            for number, name in enumerate(tasks, start=1):
                samples = self._benchmark.test_samples(name)
                row.append(percent_right(samples, self._answer(session, samples)))
                if done is not None:
                    done(name, number)
        return row

    def accuracy_on(self, bank: Bank, samples: Sequence[Sample]) -> float:
        """Percentage of right answers on any samples."""
        with BankSession(self.base, bank) as session:
            return percent_right(samples, self._answer(session, samples))

    def _answer(self, session: BankSession, samples: Sequence[Sample]) -> list[str]:
        return answer(
            session,
            samples,
            self.vision,
            self._encoder,
            self.config.activation,
            self.config.identity.temperature,
            self.config.evaluate.batch_size,
        )


def percent_right(samples: Sequence[Sample], answers: Sequence[str]) -> float:
    """Share of right answers in percent, by each task's own metric."""
    right = sum(
        score(find_task(sample.task).metric, said, sample.answer)
        for sample, said in zip(samples, answers, strict=True)
    )
    return 100.0 * right / len(samples)

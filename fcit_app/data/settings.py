"""What this room needs to know of a run's configuration; the room below depends on no other."""

from __future__ import annotations

from typing import Literal, Protocol

from fcit_app.data.catalogue import Setting


class Sizes(Protocol):
    """Where samples come from, and how many there are over all clients together."""

    @property
    def root(self) -> str:
        """Folder of the data; empty for the mini benchmark."""

    @property
    def partition(self) -> str:
        """How a folder's training samples get to clients: ``seeded`` or ``files``."""

    @property
    def on_bad_sample(self) -> Literal["refuse", "skip"]:
        """What becomes of a folder's bad records."""

    @property
    def train_samples(self) -> int:
        """Training samples of a task."""

    @property
    def test_samples(self) -> int:
        """Test samples of a task; validation has as many."""

    @property
    def min_samples(self) -> int:
        """Fewest training samples of a client."""


class DataSettings(Protocol):
    """The part of a run's configuration that decides its data; ``RunConfig`` is one."""

    @property
    def seed(self) -> int:
        """Draws pictures and shards."""

    @property
    def beta(self) -> float:
        """Dirichlet concentration of the shards' sizes."""

    @property
    def setting(self) -> Setting:
        """Whether stages and lessons are made of tasks or of capabilities."""

    @property
    def scenario(self) -> str:
        """Who learns what when: ``hom``, ``het`` or a scenario file."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages of ``hom`` in order: tasks or capabilities."""

    @property
    def data(self) -> Sizes:
        """How many samples there are."""

"""What a federated method is: every default is plain fine-tuning of one LoRA adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from peft import PeftModel
from torch.nn import Parameter

from fcit_app.arrays import Arrays
from fcit_app.config import RunConfig
from fcit_app.data.sample import Sample
from fcit_app.errors import RunError
from fcit_app.methods.state import Importance, State
from fcit_app.model.adapters import initial_adapter, parameter_handles, wrap
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.base import BaseModel
from fcit_app.model.vision import VisionFeatures
from fcit_app.train.objective import PLAIN, Objective


class Method:
    """Fine-tuning of one adapter for all stages; other methods override what they change.

    Nothing is kept in the object: clients and server make it anew from the configuration, and what
    a method remembers is in its ``State``, which the server keeps and sends.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    """

    wants_importance = False
    """Whether the server asks clients for ``importance`` at the end of a stage."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    # What is trained.

    def wrap(self, base: BaseModel) -> PeftModel:
        """Put what is trained into the base; the same call again costs nothing."""
        train = self.config.train
        return wrap(base, train.rank, train.scaling, train.dropout, targets=train.lora_targets)

    def handles(self, base: BaseModel, projector: bool) -> dict[str, Parameter]:
        """Wire names and live parameters of what is trained, the projector included or not."""
        return parameter_handles(self.wrap(base), projector)

    def initial(self, handles: Mapping[str, Parameter], seed: int) -> Arrays:
        """Draw a fresh adapter for the handles' names and shapes; the projector is left out."""
        return initial_adapter(handles, seed)

    @property
    def learning_rate(self) -> float:
        """Peak rate of what is trained beside the projector."""
        return self.config.train.lr

    # On the server.

    def open_stage(self, state: State, stage: int, draw: Callable[[], Arrays]) -> State:
        """Give the state in which a stage begins.

        Parameters
        ----------
        state : State
            At the end of the stage before; stage 0 is the state before all training.
        stage : int
            The stage that begins, from 1.
        draw : Callable[[], Arrays]
            Draws a fresh adapter. Another adapter than the state's gets a fresh aggregator.
        """
        return replace(state, stage=stage)

    def close_stage(self, state: State, importances: Sequence[Importance]) -> State:
        """Give the state at the end of a stage, from the clients' importances (at least one)."""
        return state

    # On a client.

    @contextmanager
    def local(
        self, base: BaseModel, handles: Mapping[str, Parameter], memory: Mapping[str, Arrays]
    ) -> Iterator[Objective]:
        """Prepare the wrapped base for one local training, and take it back afterwards.

        Parameters
        ----------
        base : BaseModel
            Wrapped by ``wrap``.
        handles : Mapping[str, Parameter]
            What is trained.
        memory : Mapping[str, Arrays]
            What the server's state remembers.

        Raises
        ------
        ModelError
            If the memory does not fit the model.
        """
        yield PLAIN

    def importance(
        self,
        base: BaseModel,
        handles: Mapping[str, Parameter],
        arrays: Arrays,
        samples: Sequence[Sample],
        vision: VisionFeatures,
        seed: int,
    ) -> Importance:
        """Measure how much a client's answers depend on each trained value.

        Parameters
        ----------
        base, handles
            See ``local``.
        arrays : Arrays
            The stage's final model, one array per handle.
        samples : Sequence[Sample]
            The client's samples of the stage.
        vision : VisionFeatures
            Cache of the same base.
        seed : int
            Of whatever is drawn.

        Raises
        ------
        RunError
            If the method measures nothing of the kind.
        """
        raise RunError(f"method = {self.config.method} has no use for importances.")

    # At inference.

    def bank(self, state: State) -> Bank:
        """Give what answers questions; its last subspace is the one in training."""
        return Bank((Subspace(0, state.adapter, None, 1),), state.projector)

"""From the run configuration to what local training needs."""

from __future__ import annotations

from fcit_app.config import RunConfig
from fcit_app.train.loop import TrainConfig


def local_training(
    config: RunConfig, steps: int | None = None, proximal_mu: float = 0.0
) -> TrainConfig:
    """How a client trains in one round; ``steps`` replaces the configured number of steps.

    ``proximal_mu`` is no setting of the client's: the aggregator sends it (FedProx).
    """
    train = config.train
    return TrainConfig(
        steps=train.steps if steps is None else steps,
        batch_size=train.batch_size,
        learning_rate=train.lr,
        projector_learning_rate=train.projector_lr,
        warmup=train.warmup,
        proximal_mu=proximal_mu,
    )

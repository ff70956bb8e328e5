"""From the run configuration to what local training needs."""

from __future__ import annotations

from fcit_app.config import RunConfig
from fcit_app.train.loop import TrainConfig


def local_training(
    config: RunConfig, steps: int | None = None, proximal_mu: float = 0.0
) -> TrainConfig:
    """How a client trains in one round; ``steps`` replaces the configured number of steps.

    With ``train.epochs`` nothing counts steps, here neither: then the reference methods go as often
    through all samples as a client goes through its own in a round. At the paper's 10 rounds with
    5 of 50 clients that is the work of a stage.

    ``proximal_mu`` is no setting of the client's: the aggregator sends it (FedProx).
    """
    train = config.train
    return TrainConfig(
        steps=train.steps if steps is None else steps,
        epochs=train.epochs,
        batch_size=train.batch_size,
        accumulation=train.accumulation,
        group_by_length=train.group_by_length,
        gradient_checkpointing=train.gradient_checkpointing,
        learning_rate=train.lr,
        projector_learning_rate=train.projector_lr,
        warmup=train.warmup,
        max_gradient_norm=train.max_gradient_norm or None,
        proximal_mu=proximal_mu,
    )

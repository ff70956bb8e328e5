"""The other side: LoRA training as the released code of DISCO does it, with PEFT and a plain loop.

Checkpointing always (re-entrant, over inputs that require gradients), samples in random order
without length grouping, the vision tower in each forward pass, logits at all positions, bfloat16 by
autocast, AdamW on adapter and projector at one rate, no clipping. Loader processes tokenise and
scale pictures. Left out, to its advantage: the text tower that the released code runs in each
training step, DeepSpeed, and the seven adapters that are not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fcit_app.data.sample import Sample, picture_of
from fcit_app.model.adapters import parameter_handles
from fcit_app.model.base import BaseModel
from fcit_app.model.preserve import preserved
from fcit_app.model.prompt import encode_dialogues
from fcit_app.model.vision import padded_to_square
from fcit_app.train.collate import IGNORED

LEARNING_RATE = 2e-4


def train_plainly(
    base: BaseModel,
    samples: Sequence[Sample],
    batch: int,
    workers: int,
    on_step: Callable[[], None],
) -> None:
    """Train one epoch; the wrapped model is left as it was.

    Parameters
    ----------
    base : BaseModel
        Wrapped: PEFT's model in it is what is trained.
    samples : Sequence[Sample]
        Of the epoch.
    batch : int
        Samples of a step.
    workers : int
        Loader processes.
    on_step : Callable[[], None]
        Called after each step.
    """
    model = base.adapted
    assert model is not None
    trained = list(parameter_handles(model, projector=True).values())
    loader = DataLoader(
        list(samples),  # type: ignore[arg-type]  # a list is a data set
        batch,
        shuffle=True,
        num_workers=workers,
        collate_fn=lambda rows: collate(base, rows),
        pin_memory=base.device.type == "cuda",
    )
    with preserved(model, trained):
        model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        base.model.train()
        base.model.gradient_checkpointing_enable({"use_reentrant": True})
        base.model.enable_input_require_grads()
        optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
        try:
            for inputs in loader:
                moved = {name: tensor.to(base.device) for name, tensor in inputs.items()}
                with torch.autocast(base.device.type, torch.bfloat16):
                    loss = model(**moved, use_cache=False).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                on_step()
        finally:
            base.model.disable_input_require_grads()
            base.model.gradient_checkpointing_disable()


def collate(base: BaseModel, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Tokenise and pad a batch, and scale its pictures."""
    rows = encode_dialogues(base, samples)
    length = max(len(identifiers) for identifiers, _ in rows)
    input_ids = torch.full((len(rows), length), base.tokenizer.pad_token_id)
    labels = torch.full((len(rows), length), IGNORED)
    mask = torch.zeros_like(input_ids)
    for row, (identifiers, prompt) in enumerate(rows):
        input_ids[row, : len(identifiers)] = torch.tensor(identifiers)
        labels[row, prompt : len(identifiers)] = torch.tensor(identifiers[prompt:])
        mask[row, : len(identifiers)] = 1
    processor = base.processor.image_processor
    pictures = [padded_to_square(picture_of(sample), processor.image_mean) for sample in samples]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    return {
        "input_ids": input_ids,
        "labels": labels,
        "attention_mask": mask,
        "pixel_values": pixels,
    }

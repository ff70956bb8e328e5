"""One forward pass over pictures and packed questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from fcit_app.data.mini.drawing import Drawing
from fcit_app.pretrain.architecture import PIXEL_MEAN, PIXEL_STD
from fcit_app.pretrain.packing import PackedBatch


def pixels(drawings: Sequence[Drawing]) -> Tensor:
    """Pictures as the processor gives them: (pictures, 3, 48, 48), float32."""
    stacked = np.stack([np.asarray(drawing.image) for drawing in drawings])
    values = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
    return (values - PIXEL_MEAN) / PIXEL_STD


def forward(
    model: LlavaForConditionalGeneration, images: Tensor, batch: PackedBatch
) -> tuple[Tensor, Tensor, Tensor]:
    """Vision features, projected features and last hidden states of a packed batch."""
    tower = model.model.vision_tower(images, output_hidden_states=True)
    features = tower.hidden_states[-1][:, 1:]  # drop the class token, as strategy "default" does
    projected = model.model.multi_modal_projector(features)
    embedded = model.get_input_embeddings()(batch.input_ids)
    head = 2  # <s> USER:
    embedded = torch.cat(
        [
            embedded[:, :head],
            projected.to(embedded.dtype),
            embedded[:, head + projected.shape[1] :],
        ],
        dim=1,
    )
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=batch.mask.to(embedded.dtype),
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    return features, projected, hidden

"""Answer with an exported bank: each question is answered by its own mixture of subspaces.

    model, router = load(base_model, "bank", text_encoder("bank"))
    with router.asked([question_of_row_1, question_of_row_2]):
        model.generate(**inputs_of_the_two_rows)

`text_encoder.py`, beside this file, gives the encoder of the run. Any function from texts to rows
of features does that gives the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cosine_similarity, one_hot


class Router:
    """Weighs a batch's subspaces by the cosines of its questions with the identity tokens."""

    def __init__(self, folder: Path, encode: Callable[[Sequence[str]], Tensor]) -> None:
        self.facts = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        self.arrays = load_file(folder / "router.safetensors")
        self.encode = encode
        self.gate: Tensor | None = None

    def weights(self, questions: Sequence[str]) -> Tensor:
        """Weights of shape (questions, subspaces); a question is its text alone, no template.

        All are 0 for a question of none of the tasks: ask it inside `model.disable_adapter()`,
        which also gives the base its own projector back.
        """
        features = self.encode(questions).double()
        if "directions" in self.arrays:  # the tokens were made of fewer dimensions
            features = features @ self.arrays["directions"].T
        cosines = cosine_similarity(features[:, None], self.arrays["means"].double(), dim=-1)
        # A subspace may have several means, one for each of its prototypes: the nearest counts.
        owners, count = self.arrays["owners"], len(self.facts["subspaces"])
        best = torch.stack([cosines[:, owners == i].amax(dim=-1) for i in range(count)], dim=-1)
        weights: Tensor = {
            "softmax": (best / self.facts["temperature"]).softmax(dim=-1),
            "argmax": one_hot(best.argmax(dim=-1), count),
            "cosine": best,
            "concat": torch.ones_like(best),
        }[self.facts["activation"]]
        if self.facts["open_world"]:  # 0: no limit
            weights = weights * (best.amax(dim=-1, keepdim=True) >= self.facts["open_world"])
        return weights.float()

    @contextmanager
    def asked(self, questions: Sequence[str]) -> Iterator[None]:
        """Let row i of the batches inside answer question i."""
        self.gate = self.weights(questions)
        try:
            yield
        finally:
            self.gate = None

    def scale(self, module: Any, inputs: Any, output: Tensor) -> Tensor:
        """Scale each row's activations of the stacked A, one weight for each subspace's part."""
        if self.gate is None or len(self.gate) != len(output):
            raise RuntimeError("call the model inside `router.asked`, with one question for a row")
        gate = self.gate.repeat_interleave(output.shape[-1] // self.gate.shape[1], dim=1)
        return output * gate.unsqueeze(1).to(output)


def load(
    model: Any, folder: str | Path, encode: Callable[[Sequence[str]], Tensor]
) -> tuple[PeftModel, Router]:
    """Put a bank into its base."""
    router = Router(Path(folder), encode)
    adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    for name, module in adapted.named_modules():
        if name.endswith(".lora_A.default"):
            module.register_forward_hook(router.scale)
    return adapted, router

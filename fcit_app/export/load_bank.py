"""Answer with an exported bank: each question is answered by its own mixture of subspaces.

Needs torch, transformers, peft, safetensors and the bank's text encoder, nothing else:

    model, router = load(base_model, "bank")
    with router.asked([question_of_row_1, question_of_row_2]):
        model.generate(**inputs_of_the_two_rows)
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
from torch.nn.functional import normalize, one_hot


class Router:
    """Weighs a batch's subspaces by the cosines of its questions with the identity tokens."""

    def __init__(self, folder: Path, encoder: str = "") -> None:
        self.facts = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "router.safetensors")
        self.means, self.owners = arrays["means"].double(), arrays["owners"]
        self.encode = text_encoder(self.facts["encoder"], encoder or self.facts["checkpoint"])
        if "directions" in arrays:
            whole, directions = self.encode, arrays["directions"]
            self.encode = lambda texts: whole(texts).double() @ directions.T
        self.gate: Tensor | None = None

    def weights(self, questions: Sequence[str]) -> Tensor:
        """Weights of shape (questions, subspaces); a question is its text alone, no template.

        All are 0 for a question of none of the tasks: ask it inside `model.disable_adapter()`,
        which also gives the base its own projector back.
        """
        scores = (
            normalize(self.encode(questions).double(), dim=-1) @ normalize(self.means, dim=-1).T
        )
        rows, count = len(scores), len(self.facts["subspaces"])
        best = torch.full((rows, count), -torch.inf, dtype=scores.dtype)
        best = best.scatter_reduce(1, self.owners.expand(rows, -1), scores, "amax")
        known = best.amax(dim=-1, keepdim=True) >= (self.facts["open_world"] or -torch.inf)
        match self.facts["activation"]:
            case "softmax":
                best = (best / self.facts["temperature"]).softmax(dim=-1)
            case "argmax":
                best = one_hot(best.argmax(dim=-1), count)
            case "concat":
                best = torch.ones_like(best)
        return (best * known).float()

    @contextmanager
    def asked(self, questions: Sequence[str]) -> Iterator[None]:
        """Let row i of the batches inside answer question i."""
        self.gate = self.weights(questions)
        try:
            yield
        finally:
            self.gate = None

    def hook(self, module: Any, inputs: Any, output: Tensor) -> Tensor:
        """Scale each row's activations of the stacked A, one weight for each subspace's part."""
        if self.gate is None or len(self.gate) != len(output):
            raise RuntimeError("call the model inside `router.asked`, with one question for a row")
        rows = self.gate.repeat_interleave(output.shape[-1] // self.gate.shape[1], dim=1)
        return output * rows.unsqueeze(1).to(output)


def load(model: Any, folder: str | Path, encoder: str = "") -> tuple[PeftModel, Router]:
    """Put a bank into its base; ``encoder`` is the text encoder's folder, if it lies elsewhere."""
    router = Router(Path(folder), encoder)
    adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    for name, module in adapted.named_modules():
        if name.endswith(".lora_A.default"):
            module.register_forward_hook(router.hook)
    return adapted, router


def text_encoder(kind: str, checkpoint: str) -> Callable[[Sequence[str]], Tensor]:
    """Give the frozen encoder of which the identity tokens were made."""
    if kind == "hashed-ngrams":
        from sklearn.feature_extraction.text import HashingVectorizer

        grams = HashingVectorizer(n_features=1024, ngram_range=(1, 2), alternate_sign=False)
        return lambda texts: torch.from_numpy(grams.transform(list(texts)).toarray()).float()
    if kind == "sentence-transformers":
        from sentence_transformers import SentenceTransformer

        sentences = SentenceTransformer(checkpoint, device="cpu")
        return lambda texts: torch.from_numpy(
            sentences.encode(list(texts), normalize_embeddings=True)
        )
    from transformers import AutoTokenizer, CLIPTextModel

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    tower: Any = CLIPTextModel.from_pretrained(checkpoint, dtype=torch.float32)
    tower.eval()
    positions = tower.config.max_position_embeddings
    options = {"padding": True, "truncation": True, "max_length": positions, "return_tensors": "pt"}

    @torch.inference_mode()
    def clip(texts: Sequence[str]) -> Tensor:
        pooled: Tensor = tower(**tokenizer(list(texts), **options)).pooler_output
        return pooled

    return clip

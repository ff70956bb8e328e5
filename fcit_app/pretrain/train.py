"""Pre-train the mini base: ``python -m fcit_app.pretrain --seed 0 --out DIR``.

One core, about half an hour. Muon for the layers' matrices, AdamW for the rest, cosine decay from
the start (without decay the run looks stuck), bfloat16 autocast, packed questions, alignment
losses.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

from fcit_app.data.mini.lexicon import build_lexicon
from fcit_app.data.mini.questions import Dialogue, make_dialogue
from fcit_app.pretrain.alignment import AlignmentLoss
from fcit_app.pretrain.architecture import HIDDEN, build_model, build_processor
from fcit_app.pretrain.forward_pass import forward, pixels
from fcit_app.pretrain.packing import IGNORED, pack
from fcit_app.pretrain.skills import SkillTable, measure_skills
from fcit_app.pretrain.tokenizer import build_tokenizer

app = typer.Typer(add_completion=False)


def make_optimizers(
    model: nn.Module, alignment: nn.Module, muon_lr: float = 0.01, adam_lr: float = 1.5e-3
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside layers, AdamW for embeddings, heads and vectors."""
    named = [*model.named_parameters(), *alignment.named_parameters()]
    matrices = [p for name, p in named if p.ndim == 2 and ".layers." in name]
    inside = {id(p) for p in matrices}
    others = [p for _, p in named if id(p) not in inside]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(groups, lr=adam_lr, betas=(0.9, 0.98)),
    ]


def learning_rate_factor(step: int, steps: int, warmup: int = 60) -> float:
    """Linear warm-up, then a cosine down to two per cent."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * cosine)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder for the finished model and its processor.")],
    seed: Annotated[int, typer.Option(help="Draws weights, pictures and questions.")] = 0,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 6000,
    pictures: Annotated[int, typer.Option(help="Pictures a step, nine questions each.")] = 16,
) -> None:
    """Pre-train one mini base and write it, with its skill table, to OUT."""
    torch.set_num_threads(1)  # more threads are no faster at this size; run two seeds side by side
    torch.set_flush_denormal(True)
    pretrain(out, seed, steps, pictures)


def pretrain(out: Path, seed: int, steps: int, pictures: int, skill_pictures: int = 2000) -> None:
    """Pre-train a base from scratch.

    Parameters
    ----------
    out : Path
        Folder for the model, its processor and its skill table.
    seed : int
        Draws weights, pictures and questions.
    steps : int
        Optimiser steps.
    pictures : int
        Pictures a step.
    skill_pictures : int
        Unseen pictures for the final skill table.
    """
    tokenizer = build_tokenizer()
    lexicon = build_lexicon(tokenizer)
    model = build_model(tokenizer, seed).train()
    alignment = AlignmentLoss(tokenizer, HIDDEN)
    optimizers = make_optimizers(model, alignment)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    adam_parameters = [p for group in optimizers[1].param_groups for p in group["params"]]
    random = Random(f"pretraining/{seed}")
    started, recent = time.monotonic(), []
    for step in range(steps):
        factor = learning_rate_factor(step, steps)
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        asked = [make_dialogue(random, lexicon) for _ in range(pictures)]
        loss, aligned, accuracy = losses(model, alignment, tokenizer, asked)
        torch.autograd.backward(loss + aligned)
        nn.utils.clip_grad_norm_(adam_parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recent.append((loss.item(), accuracy, aligned.item()))
        if (step + 1) % 100 == 0 or step == 20:
            means = np.mean(recent[-100:], axis=0)
            typer.echo(
                f"step {step + 1}/{steps} {time.monotonic() - started:.0f} s loss {means[0]:.3f} "
                f"token accuracy {means[1]:.3f} alignment {means[2]:.3f}"
            )
        if (step + 1) % 1000 == 0 and step + 1 < steps:
            typer.echo(measure_skills(model, tokenizer, lexicon, pictures=300).line())
    save(model, build_processor(tokenizer), out)
    skills = measure_skills(model, tokenizer, lexicon, skill_pictures)
    write_table(skills, seed, steps, time.monotonic() - started, out)
    typer.echo(skills.line())


def losses(
    model: LlavaForConditionalGeneration,
    alignment: AlignmentLoss,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Dialogue],
) -> tuple[Tensor, Tensor, float]:
    """Answer loss, alignment loss and token accuracy of a batch of dialogues."""
    drawings = [dialogue.drawing for dialogue in asked]
    batch = pack(tokenizer, [[(q, a) for _, q, a in dialogue.turns] for dialogue in asked])
    with torch.autocast("cpu", torch.bfloat16):
        features, projected, hidden = forward(model, pixels(drawings), batch)
        answered = batch.labels[:, 1:] != IGNORED
        logits = model.lm_head(hidden[:, :-1][answered]).float()
        targets = batch.labels[:, 1:][answered]
        embeddings = model.get_input_embeddings().weight
        aligned = alignment(features, projected, embeddings, drawings)
        loss = F.cross_entropy(logits, targets)
    accuracy = (logits.argmax(-1) == targets).float().mean().item()
    return loss, aligned, accuracy


def save(model: LlavaForConditionalGeneration, processor: LlavaProcessor, out: Path) -> None:
    """Write the model in bfloat16 and its processor in the Hugging Face layout."""
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)  # type: ignore[arg-type]
    processor.save_pretrained(out)
    model.float()  # type: ignore[no-untyped-call]


def write_table(skills: SkillTable, seed: int, steps: int, seconds: float, out: Path) -> None:
    """Keep the skill table beside the weights."""
    page = {"seed": seed, "steps": steps, "seconds": round(seconds), "skills": skills.as_dict()}
    (out / "skills.json").write_text(json.dumps(page, indent=2) + "\n")


if __name__ == "__main__":
    app()

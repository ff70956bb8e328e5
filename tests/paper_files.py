"""What the paper's presets need on disk, small: a random LLaVA and CLIP, data in FCIT's layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tiny_llava import build_tokenizer, save_tiny_llava
from tokenizers import processors
from toy_folder import make_root
from transformers import CLIPTextConfig, CLIPTextModel

from fcit_app.data.catalogue import Setting, stages, tasks_of
from fcit_app.data.folder.write_partition import write_partition


def save_tiny_clip(folder: Path) -> Path:
    """A random CLIP text tower with its tokenizer, in Hugging Face layout."""
    tokenizer = build_tokenizer()
    # Texts end in an end token as CLIP's do, for it is the end's state that is the feature; one of
    # its own, since Transformers takes the end token 2 for that of a wrong old configuration.
    tokenizer.add_special_tokens({"bos_token": "<start>", "eos_token": "<end>"})
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", start), ("<end>", end)]
    )
    tokenizer.save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=start,
        eos_token_id=end,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPTextModel(config).save_pretrained(folder)
    return folder


def save_terse_llava(folder: Path, context: int) -> Path:
    """A random LLaVA whose short context leaves answers a few tokens, not the paper's 128."""
    save_tiny_llava(folder, layers=1)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["max_position_embeddings"] = context
    file.write_text(json.dumps(config))
    return folder


def dealt_root(folder: Path, setting: Setting, clients: int, train: int, test: int) -> Path:
    """Data of all stages of a setting, and their partition to so many clients."""
    names = stages(setting)
    make_root(folder, [task for name in names for task in tasks_of(name)], train, test)
    write_partition(folder, setting, names, 1.0, clients, 0, minimum=1)
    return folder

"""Runs where this project cannot be imported: logits of exported models by stock tools alone.

Takes a JSON file: base, pictures, questions, and of each export its kind and folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

OURS = {"fcit_app", "strategies", "client_app", "server_app"}


class Absent:
    """Lets nobody find this project."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in OURS:
            raise ModuleNotFoundError(f"{name} is not there")


sys.meta_path.insert(0, Absent)
for room in OURS:
    try:
        __import__(room)
        sys.exit(f"{room} can be imported")
    except ModuleNotFoundError:
        pass

import torch  # noqa: E402
from peft import PeftModel  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoModelForImageTextToText, LlavaProcessor  # noqa: E402

asked = json.loads(Path(sys.argv[1]).read_text())


def inputs(folder, picture, question):
    processor = LlavaProcessor.from_pretrained(folder)
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return processor(
        images=Image.open(picture), text=text, add_special_tokens=False, return_tensors="pt"
    )


@torch.inference_mode()
def logits(kind, folder, picture, question):
    if kind == "merged":
        model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        return model(**inputs(folder, picture, question)).logits
    base = AutoModelForImageTextToText.from_pretrained(asked["base"])
    if kind == "bank":
        sys.path.append(folder)
        from load_bank import load
        from text_encoder import text_encoder

        model, router = load(base, folder, text_encoder(folder))
        with router.asked([question]):
            return model(**inputs(asked["base"], picture, question)).logits
    model = PeftModel.from_pretrained(base, folder).eval()
    return model(**inputs(asked["base"], picture, question)).logits


np.savez(
    sys.argv[2],
    **{
        f"{name}-{number}": logits(kind, folder, *pair).numpy()
        for name, (kind, folder) in asked["exports"].items()
        for number, pair in enumerate(asked["pairs"])
    },
)

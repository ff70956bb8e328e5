"""A small root in FCIT's layout, with real files, for tests to use or to spoil."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcit_app.data.folder.datasets import dataset

_ANSWERS = {"letter": "B", "number": "3", "box": "[0.1, 0.2, 0.5, 0.8]", "caption": "A dog runs."}


def write_picture(file: Path, number: int) -> None:
    """Coloured noise that depends on ``number`` only; a JPEG or PNG by the file's name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def write_json(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def training_raw(image: str, *turns: str, **more: Any) -> dict[str, Any]:
    """A training record; texts in turn from human and assistant."""
    texts = [f"<image>\n{turns[0]}", *turns[1:]]
    talk = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]
    return {"image": image, "conversations": talk, **more}


def make_root(
    root: Path,
    tasks: Sequence[str] = ("imagenet-r", "figureqa"),
    train: int = 30,
    test: int = 4,
) -> Path:
    """Write sound data of some tasks: every record has a picture of its own."""
    for place, name in enumerate(tasks):
        entry = dataset(name)
        answer = _ANSWERS.get(entry.answer_format or "", "Yes")
        question = f"Is this about {name}?" + (entry.suffixes[0] if entry.suffixes else "")
        for folder in entry.picture_folders:
            (root / "datasets" / folder).mkdir(parents=True, exist_ok=True)
        images = [f"{entry.picture_folders[0]}/{name}/{n}.png" for n in range(train + test)]
        for number, image in enumerate(images):
            write_picture(root / "datasets" / image, 1000 * place + number)
        write_json(
            root / entry.train_path,
            [training_raw(image, question, answer, id=n) for n, image in enumerate(images[:train])],
        )
        write_json(
            root / entry.test_path,
            [
                {"question_id": n, "image": image, "text": question, "answer": answer}
                for n, image in enumerate(images[train:])
            ],
        )
        if entry.captions_path:
            captions = [{"image_id": n, "id": n, "caption": answer} for n in range(test)]
            coco = {"images": [{"id": n} for n in range(test)], "annotations": captions}
            write_json(root / entry.captions_path, coco)
    return root


def change(file: Path, position: int, **fields: Any) -> None:
    """Overwrite fields of one record."""
    content = json.loads(file.read_text())
    content[position].update(fields)
    write_json(file, content)

"""A worker without a model, which can do what a real one should not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from fcit_app.errors import ConfigError, DataError
from fcit_app.identity.tokens import IdentityToken


def make(text: str) -> ToyWorker:
    return ToyWorker(text)


class ToyWorker:
    def __init__(self, text: str) -> None:
        if text == "wrong":
            raise ConfigError(["seed: -1 is not allowed.", "beta: 0 is not allowed."])
        self.text = text
        self.calls = 0

    def echo(self, *values, **named):
        return values, named

    def who(self):
        """Text it was made of, its process, number of its calls, its visible GPUs."""
        self.calls += 1
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        return self.text, os.getpid(), self.calls, gpus

    def token(self, count: int) -> IdentityToken:
        part = IdentityToken(np.full(3, 0.1, np.float32), count)
        return IdentityToken(np.full(3, 0.3, np.float32), 3 * count, (part, part, part))

    def note(self, path: Path, word: str, seconds: float = 0.0) -> None:
        """Append a word now, and another after some seconds."""
        for suffix in ("begins", "ends"):
            with path.open("a") as file:
                file.write(f"{word} {suffix}\n")
            if suffix == "begins":
                time.sleep(seconds)

    def die(self, path: Path, deaths: int, signal: int = 9) -> int:
        """Kill its process, unless that has happened often enough."""
        died = len(path.read_text()) if path.exists() else 0
        if died < deaths:
            path.write_text("x" * (died + 1))
            os.kill(os.getpid(), signal)
            time.sleep(60)
        return os.getpid()

    def refuse(self, text: str) -> None:
        raise DataError(text)

    def fail(self) -> None:
        raise MemoryError("no room on the GPU")

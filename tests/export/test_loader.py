"""The reference loader weighs subspaces as a run does, and needs nothing of this project."""

from __future__ import annotations

import ast
import sys
from typing import get_args

import numpy as np
import pytest
import torch

from fcit_app.config import parse
from fcit_app.export.load_bank import Router
from fcit_app.export.router import LOADER, write_router
from fcit_app.identity.tokens import IdentityToken
from fcit_app.model.activation import Activation, activation_weights
from fcit_app.model.bank import Bank, Subspace
from fcit_app.model.routes import route_owners, route_tokens

WIDTH = 6
ALLOWED = {"torch", "peft", "safetensors", "transformers", "sklearn", "sentence_transformers"}


def bank() -> Bank:
    """Three subspaces; the middle one has prototypes."""
    draw = np.random.default_rng(0).normal(size=(5, WIDTH))
    prototypes = tuple(IdentityToken(row, 2) for row in draw[3:])
    tokens = [IdentityToken(row, 4) for row in draw[:3]]
    tokens[1] = IdentityToken(draw[1], 4, prototypes)
    return Bank(tuple(Subspace(place, {}, token, 1) for place, token in enumerate(tokens)), None)


@pytest.mark.parametrize("limit", [0.0, 0.5])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_weights_are_the_runs(tmp_path, activation, limit):
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(20, WIDTH))).float()
    whole = bank()
    write_router(tmp_path, whole, parse({"activation": activation, "identity.open-world": limit}))
    router = Router(tmp_path, lambda questions: features[[int(text) for text in questions]])
    tokens, owners = route_tokens(whole), route_owners(whole)
    expected = activation_weights(features, tokens, activation, 0.05, owners, limit)
    assert expected.any(dim=1).all() == (limit == 0)
    found = router.weights([str(number) for number in range(20)])
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_outside_asked_and_with_another_number_of_rows_it_says_so(tmp_path):
    write_router(tmp_path, bank(), parse({}))
    router = Router(tmp_path, lambda questions: torch.ones(len(questions), WIDTH))
    with pytest.raises(RuntimeError, match=r"inside `router\.asked`"):
        router.scale(None, None, torch.ones(1, 2, 6))
    with router.asked(["one", "two"]):
        assert router.scale(None, None, torch.ones(2, 4, 6)).shape == (2, 4, 6)
        with pytest.raises(RuntimeError, match="one question for a row"):
            router.scale(None, None, torch.ones(1, 2, 6))
    assert router.gate is None


def test_it_needs_nothing_of_this_project_and_fits_on_a_page():
    for file in LOADER:
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                package = name.split(".")[0]
                assert package in ALLOWED or package in sys.stdlib_module_names
        assert len(text.splitlines()) <= 85

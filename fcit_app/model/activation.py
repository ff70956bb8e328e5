"""How much each subspace of the bank contributes to the answer to one question."""

from __future__ import annotations

import math
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional

from fcit_app.errors import ModelError

Activation = Literal["softmax", "argmax", "cosine", "concat"]


def activation_weights(
    features: Tensor,
    tokens: Tensor,
    mode: Activation = "softmax",
    temperature: float = 0.05,
    owners: Tensor | None = None,
    open_world: float = 0.0,
) -> Tensor:
    """Weight of each subspace for each question (DISCO, subspace selective activation).

    With ``s_i`` the cosine between a question's feature and identity token i: ``softmax`` gives
    ``exp(s_i / T) / sum_j exp(s_j / T)``; the paper's ablations are ``argmax`` (the best one only),
    ``cosine`` (``s_i`` itself) and ``concat`` (all subspaces at full weight).

    Parameters
    ----------
    features : Tensor
        Features of the questions, shape (batch, width).
    tokens : Tensor
        Identity tokens of the subspaces, shape (subspaces, width). Lengths do not matter.
    mode : {"softmax", "argmax", "cosine", "concat"}
        See above. Equally good subspaces: ``argmax`` takes the first.
    temperature : float
        T, of ``softmax`` only; 0.05 in the paper.
    owners : Tensor, optional
        For subspaces with several tokens (prototypes): the subspace of each token, shape (tokens,),
        each number from 0 at least once. ``s_i`` is then the best cosine of subspace i's. One token
        a subspace, in their order, if None.
    open_world : float
        Smallest ``s_i`` for a question to wake any subspace; 0 is no limit. Below it all weights
        are 0: the question is of none of the tasks, and the base answers. (Not the paper's, which
        always mixes something.)

    Returns
    -------
    Tensor
        Float32, shape (batch, subspaces).

    Raises
    ------
    ModelError
        If the mode is unknown or the widths differ.
    """
    if features.shape[-1] != tokens.shape[-1]:
        raise ModelError(
            f"The questions' features have {features.shape[-1]} numbers, the bank's identity "
            f"tokens {tokens.shape[-1]}. Use the identity.encoder and identity.token with which "
            "the bank was made."
        )
    features, tokens = features.double(), tokens.double()
    scores = functional.normalize(features, dim=-1) @ functional.normalize(tokens, dim=-1).T
    if owners is not None:
        best = scores.new_full((len(scores), int(owners.max()) + 1), -math.inf)
        scores = best.scatter_reduce(1, owners.expand(len(scores), -1), scores, "amax")
    match mode:
        case "softmax":
            weights = (scores / temperature).softmax(dim=-1)
        case "argmax":
            weights = functional.one_hot(scores.argmax(dim=-1), scores.shape[-1])
        case "cosine":
            weights = scores
        case "concat":
            weights = scores.new_ones(scores.shape)
        case _:
            raise ModelError(
                f"activation is '{mode}'; allowed are {', '.join(get_args(Activation))}."
            )
    if open_world:
        known = scores.amax(dim=-1, keepdim=True) >= open_world
        weights = weights * known
    return weights.float()

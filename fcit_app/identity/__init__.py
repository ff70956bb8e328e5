"""Identity tokens: who trains on what, told from the instructions alone."""

from fcit_app.identity.encoders import TextEncoder, load_encoder
from fcit_app.identity.matching import Matching, match
from fcit_app.identity.tokens import IdentityToken, cosine, cosine_matrix

__all__ = [
    "IdentityToken",
    "Matching",
    "TextEncoder",
    "cosine",
    "cosine_matrix",
    "load_encoder",
    "match",
]

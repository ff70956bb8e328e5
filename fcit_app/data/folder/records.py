"""One record of FCIT's training and test JSON, checked and in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from fcit_app.data.folder.defects import BadRecordError
from fcit_app.data.folder.lengths import CONTEXT, IMAGE_TOKENS, estimated_tokens

PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Turn:
    """A question, without ``<image>``, and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Record:
    """What is asked, about a picture or about none.

    Parameters
    ----------
    image : str or None
        Path of the picture below the picture folder, with ``/``, never leaving it; None: the
        questions are text alone.
    turns : tuple[Turn, ...]
        At least one; Grounding has several to a picture.
    identifier : str or None
        The record's own ``id`` or ``question_id``; None if it has none.
    references : tuple[str, ...]
        All captions of the picture, where the answer is compared with them; else empty.
    """

    image: str | None
    turns: tuple[Turn, ...]
    identifier: str | None
    references: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Questions and answers in turn."""
        return tuple(text for turn in self.turns for text in (turn.question, turn.answer))

    @property
    def subject(self) -> str:
        """What it is about: its picture, else its first question."""
        return self.turns[0].question if self.image is None else self.image


def parse_training(raw: object, text_alone: bool = False) -> Record:
    """Read ``{"image", "conversations": [{"from": "human" | "gpt", "value"}, ...]}``.

    Parameters
    ----------
    raw : object
        The parsed JSON.
    text_alone : bool
        Whether ``image`` may be left out, or be null.

    Raises
    ------
    BadRecordError
        If the record cannot be learnt from; says why.
    """
    entry = _object(raw)
    image = None if text_alone and entry.get("image") is None else _image(entry, text_alone)
    talk = entry.get("conversations")
    if not isinstance(talk, list) or not talk:
        raise BadRecordError("no-question", "it has no 'conversations', a list of turns.")
    said = [_said(turn, number) for number, turn in enumerate(talk)]
    if len(said) % 2:
        raise BadRecordError(
            "no-answer",
            f"its {len(said)} turns are not pairs of 'human' and 'gpt': an assistant turn is "
            "missing. Add it, or leave the record out.",
        )
    pairs = zip(said[::2], said[1::2], strict=True)
    turns = tuple(
        _turn(_without_placeholder(question) if image and not number else question, answer, image)
        for number, (question, answer) in enumerate(pairs)
    )
    return Record(image, turns, _identifier(entry))


def parse_test(raw: object, references: tuple[str, ...] = ()) -> Record:
    """Read ``{"question_id", "image", "text", "answer"}``; Grounding has ``answer_bbox`` instead.

    Parameters
    ----------
    raw : object
        The parsed JSON.
    references : tuple[str, ...]
        The picture's captions, where they lie in a file of their own; the first is the answer.

    Raises
    ------
    BadRecordError
        If the record cannot be asked or scored; says why.
    """
    entry = _object(raw)
    image = _image(entry)
    question = entry.get("text")
    if not isinstance(question, str):
        raise BadRecordError(
            "no-question", f"its 'text' must be the question, not {_short(question)}."
        )
    answer = references[0] if references else entry.get("answer", entry.get("answer_bbox"))
    for reference in references:
        _whole_characters(reference)
    turn = _turn(question, _answer(answer), image)
    return Record(image, (turn,), _identifier(entry), references)


def safe_path(image: str) -> str:
    """Give an image path in plain form.

    A symbolic link below the picture folder is followed: it is the user's own, while the paths come
    with the data.

    Raises
    ------
    BadRecordError
        If the path is absolute or leaves the picture folder.
    """
    _whole_characters(image)
    path = PurePosixPath(image)
    strange = not path.parts or any(mark in image for mark in ("\\", "\0", ":"))
    if strange or path.is_absolute() or ".." in path.parts:
        raise BadRecordError(
            "outside-root",
            f"its image path {_short(image)} must stay below the picture folder: a relative path "
            "with '/' and without '..'.",
        )
    return str(path)


def _object(raw: object) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise BadRecordError("no-object", f"it must be an object '{{...}}', not {_short(raw)}.")
    return raw


def _image(entry: Mapping[str, object], text_alone: bool = False) -> str:
    image = entry.get("image")
    if not isinstance(image, str) or not image:
        mend = "leave it out where there is none" if text_alone else "all of FCIT's tasks have one"
        raise BadRecordError(
            "no-image", f"its 'image' must be the path of one picture, not {_short(image)}; {mend}."
        )
    return safe_path(image)


def _said(turn: object, number: int) -> str:
    """Text of a turn, whose speaker must be the one whose turn it is."""
    speaker = ("human", "gpt")[number % 2]
    if not isinstance(turn, dict) or turn.get("from") != speaker:
        found = turn.get("from") if isinstance(turn, dict) else turn
        raise BadRecordError(
            "no-answer" if number % 2 else "no-question",
            f"turn {number} of its 'conversations' must be from '{speaker}', not {_short(found)}.",
        )
    value = turn.get("value")
    return _answer(value) if number % 2 else value if isinstance(value, str) else ""


def _answer(value: object) -> str:
    """Text of an answer; numbers and boxes may be written without quotes."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(n, int | float) for n in value):
        return str(value)
    raise BadRecordError(
        "no-answer", f"its answer must be a text that is not empty, not {_short(value)}."
    )


def _without_placeholder(question: str) -> str:
    """Take the one placeholder away that LLaVA writes before or behind the first question."""
    question = question.strip()
    if question.startswith(PLACEHOLDER):
        return question.removeprefix(PLACEHOLDER)
    return question.removesuffix(PLACEHOLDER)


def _turn(question: str, answer: str, image: str | None) -> Turn:
    question = question.strip()
    if not question:
        raise BadRecordError("no-question", "it has an empty question.")
    if PLACEHOLDER in question or PLACEHOLDER in answer:
        raise BadRecordError(
            "placeholder-in-text",
            f"{PLACEHOLDER} stands inside a question or answer; it is allowed once, before or "
            "behind the first question of a training record. Take it out."
            if image
            else f"{PLACEHOLDER} stands in its text, but it names no picture. Name the picture as "
            f"'image', or take {PLACEHOLDER} out.",
        )
    _whole_characters(question + answer)
    room = CONTEXT - (IMAGE_TOKENS if image else 0)
    # No token is shorter than a character: hardly any answer needs to be counted.
    length = estimated_tokens(answer) if len(answer) > room else 0
    if length > room:
        raise BadRecordError(
            "answer-too-long",
            f"its answer takes about {length} tokens (estimated); the context of {CONTEXT} leaves "
            f"{room}{' beside the picture' if image else ''}. Shorten it, or leave the record out.",
        )
    return Turn(question, answer)


def _whole_characters(text: str) -> None:
    """Refuse half of a surrogate pair, which JSON can write and nothing else can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRecordError(
            "not-unicode", f"its text {_short(text)} holds half a character (a lone surrogate)."
        ) from error


def _identifier(entry: Mapping[str, object]) -> str | None:
    found = entry.get("id", entry.get("question_id"))
    return None if found is None else str(found)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""What the mini base is asked in pre-training: its own short prompts, never a task's wording.

Every answer token of the twelve tasks occurs here as an answer, and every skill they need; their
phrasing and their answer formats do not. A tag at the end of a prompt (``bare``, ``caps``,
``digit``, ``agree``, ``joined``, ``points``) chooses how the answer is written; without a tag it
is a sentence. Tasks carry no tag, so the base cannot answer in a task's format until it is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from fcit_app.data.mini import pictures
from fcit_app.data.mini.drawing import Drawing
from fcit_app.data.mini.pictures import Thing
from fcit_app.data.mini.splits import Split, SplitPen
from fcit_app.data.mini.vocabulary import (
    COLOUR_NAMES,
    LETTERS,
    LEVELS,
    NUMBERS,
    OBJECTS,
    PICTURE_SIZE,
    SHAPES,
    TRENDS,
    plural,
)

Kind = Literal["word", "number", "truth", "letters", "key", "plain", "box", "echo"]
PictureKind = Literal["scene", "row", "portrait", "cover", "bars", "curve", "icons", "table"]

MIXTURE: dict[PictureKind, float] = {
    "scene": 4.5,
    "row": 3,
    "portrait": 2,
    "cover": 2.5,
    "bars": 3,
    "curve": 3,
    "icons": 1.5,
    "table": 2.5,
}


SENTENCE_LEADS = ("it is ", "it reads ")
"""How an answer begins to a prompt without a tag; ``echo`` alone has neither tag nor lead."""


@dataclass(frozen=True)
class Lexicon:
    """Token texts with their leading space: all of them to copy, and harmless ones as filler."""

    words: Sequence[str]
    filler: Sequence[str]


@dataclass(frozen=True)
class Question:
    """A prompt of the base's own language with its answer, before a style is chosen."""

    skill: str
    prompt: str
    answer: str
    kind: Kind


@dataclass(frozen=True)
class Dialogue:
    """A picture with several independent questions: ``(skill, prompt, answer)`` as trained."""

    drawing: Drawing
    turns: tuple[tuple[str, str, str], ...]


def make_dialogue(
    random: Random, lexicon: Lexicon, split: Split = "pretraining", most: int = 9
) -> Dialogue:
    """Draw a picture and ask up to ``most`` questions about it, some of them about text alone.

    Parameters
    ----------
    random : random.Random
        Source of all choices.
    lexicon : Lexicon
        Words to copy, and filler from the tasks' prompts, so that no word of theirs is untrained.
    split : Split
        Pictures come from this split only.
    most : int
        Questions a picture.
    """
    kind = random.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    drawing, asked = _ASK[kind](random, SplitPen(random, split))
    asked += _text_questions(random, lexicon.words)
    described = [question for question in asked if question.skill == "list"]
    others = [question for question in asked if question.skill != "list"]
    random.shuffle(others)
    chosen = described + others[: most - len(described)]
    return Dialogue(
        drawing, tuple(_styled(random, lexicon.filler, question) for question in chosen)
    )


def _styled(random: Random, filler: Sequence[str], question: Question) -> tuple[str, str, str]:
    prompt, answer, kind = question.prompt, question.answer, question.kind
    if random.random() < 0.4:
        before = "".join(random.choice(filler) for _ in range(random.randint(0, 4)))
        after = "".join(random.choice(filler) for _ in range(random.randint(0, 6)))
        prompt = f"{before} {prompt}{after}".strip()
    draw = random.random()
    if kind == "echo":
        return question.skill, prompt, answer
    if draw < 0.4:
        lead = {"letters": "it reads ", "box": "it is at "}.get(kind, "it is ")
        return question.skill, prompt, lead + answer
    if draw < 0.65 or kind in ("key", "plain"):
        return question.skill, prompt + " bare", answer
    if kind == "word":
        return question.skill, prompt + " caps", answer.capitalize()
    if kind == "number":
        return question.skill, prompt + " digit", str(NUMBERS.index(answer))
    if kind == "letters":
        return question.skill, prompt + " joined", answer.replace(" ", "")
    if kind == "box":
        points = " ".join(f"0.{edge}" for edge in answer.split())
        return question.skill, prompt + " points", points
    return question.skill, prompt + " agree", "Yes" if answer == "true" else "No"


def _keyed(random: Random, skill: str, lead: str, right: str, pool: Sequence[str]) -> Question:
    """Ask for the letter of an option: two to four options with random or alphabetical letters."""
    count = random.choice([2, 3, 4])
    options = [*random.sample([word for word in pool if word != right], count - 1), right]
    random.shuffle(options)
    keys = list("ABCD"[:count]) if random.random() < 0.5 else random.sample(LETTERS, count)
    mark = random.choice([" -", ":", ";", ")"])
    gap = random.choice([" ", "\n"])
    listed = gap.join(f"{key}{mark} {option}" for key, option in zip(keys, options, strict=True))
    return Question(skill, f"{lead}{gap}{listed}", keys[options.index(right)], "key")


def _truth(skill: str, prompt: str, fact: bool) -> Question:
    return Question(skill, prompt, "true" if fact else "false", "truth")


def _count(skill: str, prompt: str, count: int) -> Question:
    return Question(skill, prompt, NUMBERS[count], "number")


def _unique(things: Sequence[Thing], attribute: Literal["colour", "shape", "name"]) -> list[Thing]:
    values = [getattr(thing, attribute) for thing in things]
    return [thing for thing, value in zip(things, values, strict=True) if values.count(value) == 1]


def _box(thing: Thing) -> str:
    return " ".join(f"{edge / PICTURE_SIZE:.2f}"[2:] for edge in thing.box)


def _things_questions(random: Random, things: Sequence[Thing], kind: PictureKind) -> list[Question]:
    c = random.choice
    listed = " ; ".join(thing.name for thing in things)
    asked = [Question("list", c(["list everything", "contents"]), listed, "plain")]
    total = ["count things", "number of things", "total of the objects"]
    asked += [_count("count all", c(total), len(things)) for _ in range(1 if kind == "row" else 2)]
    shape = c(things).shape
    same_shape = sum(thing.shape == shape for thing in things)
    prompt = c([f"count {plural(shape)}", f"number of {plural(shape)}"])
    asked.append(_count("count shape", prompt, same_shape))
    if kind != "icons":
        for _ in range(2):
            colour = c([*(thing.colour for thing in things), c(COLOUR_NAMES)])
            same = sum(thing.colour == colour for thing in things)
            asked.append(
                _count("count colour", c([f"count {colour}", f"number of {colour}"]), same)
            )
            colour = c([*(thing.colour for thing in things), c(COLOUR_NAMES)])
            same = sum(thing.colour == colour for thing in things)
            prompts = [
                f"count things except {colour}",
                f"total if the {colour} are taken away",
                f"number of objects that are not {colour}",
            ]
            asked.append(_count("count others", c(prompts), len(things) - same))
    if only := _unique(things, "colour"):
        thing = c(only)
        prompts = [f"form of {thing.colour}", f"shape for the {thing.colour} one"]
        asked.append(Question("shape of", c(prompts), thing.shape, "word"))
    if only := _unique(things, "shape"):
        thing = c(only)
        prompts = [f"hue of {thing.shape}", f"color for the {thing.shape} one"]
        asked.append(Question("colour of", c(prompts), thing.colour, "word"))
    asked += _neighbour_questions(random, things, 3 if kind == "row" else 1)
    named = c(things).name if random.random() < 0.5 else f"{c(COLOUR_NAMES)} {c(SHAPES)}"
    present = {thing.name for thing in things}
    asked.append(_truth("present", f"any {named}", named in present))
    if random.random() < 0.6:
        absent = [f"{x} {y}" for x in COLOUR_NAMES for y in SHAPES if f"{x} {y}" not in present]
        pool = [*absent, c(sorted(present))]
        asked.append(_keyed(random, "key of thing", "key of what is seen", pool[-1], pool))
    if only := _unique(things, "name"):
        for thing in random.sample(only, min(2, len(only))):
            if random.random() < 0.4:
                prompts = [f"place of {thing.name}", f"whereabouts of the {thing.name}"]
                asked.append(Question("place", c(prompts), thing.place, "plain"))
            else:
                prompts = [f"corners of {thing.name}", f"edges around the {thing.name}"]
                asked.append(Question("box", c(prompts), _box(thing), "box"))
    return asked


def _neighbour_questions(random: Random, things: Sequence[Thing], most: int) -> list[Question]:
    c = random.choice
    distinct = _unique(things, "name")
    pairs = [
        (left, right)
        for left in distinct
        for right in distinct
        if left.cell + 1 == right.cell and left.cell // 3 == right.cell // 3
    ]
    asked = []
    for _ in range(most if pairs else 0):
        left, right = c(pairs)
        side, beside, wanted = c([("left", right, left), ("right", left, right)])
        what = c(["hue", "color", "form", "shape"])
        answer = wanted.colour if what in ("hue", "color") else wanted.shape
        prompts = [
            f"{side} neighbour of {beside.name} : its {what}",
            f"{what} found {side} beside {beside.name}",
        ]
        asked.append(Question("neighbour", c(prompts), answer, "word"))
    return asked


def _ask_scene(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    distinct = random.random() < 0.35
    picture = pen.draw(lambda random: pictures.scene(random, 1, 5, distinct))
    return picture.drawing, _things_questions(random, picture.things, "scene")


def _ask_row(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture = pen.draw(pictures.row)
    return picture.drawing, _things_questions(random, picture.things, "row")


def _ask_icons(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture = pen.draw(pictures.icons)
    return picture.drawing, _things_questions(random, picture.things, "icons")


def _ask_portrait(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture, c = pen.draw(pictures.portrait), random.choice
    name = picture.name
    asked = [Question("name", c(["name it", "identify", "label"]), name, "word") for _ in range(2)]
    asked.append(_keyed(random, "key of object", "key of what is seen", name, OBJECTS))
    named = c([name, c(OBJECTS)])
    asked.append(_truth("present", f"any {named}", named == name))
    return picture.drawing, asked


def _ask_cover(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture, c = pen.draw(lambda random: pictures.cover(random, 2)), random.choice
    title = picture.title
    asked = [
        Question("read", c(["read", "spell", "the letters"]), " ".join(title), "letters")
        for _ in range(2)
    ]
    position = random.randrange(len(title))
    prompt = c(["letter ", "sign "]) + NUMBERS[position + 1]
    asked.append(Question("letter at", prompt, title[position], "key"))
    return picture.drawing, asked


def _ask_bars(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture, c = pen.draw(pictures.bars), random.choice
    names, levels = picture.colours, picture.levels
    listed = " ; ".join(f"{LEVELS[v]} {name}" for name, v in zip(names, levels, strict=True))
    asked = [Question("list", c(["list everything", "contents"]), listed, "plain")]
    bar = random.randrange(len(names))
    prompt = c(["height of ", "level of "]) + names[bar]
    asked.append(Question("level", prompt, LEVELS[levels[bar]], "word"))
    tallest, shortest = names[levels.index(max(levels))], names[levels.index(min(levels))]
    asked.append(Question("tallest", c(["top one", "peak of all"]), tallest, "word"))
    asked.append(Question("shortest", c(["bottom one", "least of all"]), shortest, "word"))
    for _ in range(2):
        asked += [_compare(random, picture), _extreme(random, picture)]
    if random.random() < 0.5:
        asked.append(_keyed(random, "key of bar", "key of the top one", tallest, COLOUR_NAMES))
    return picture.drawing, asked


def _cased(random: Random, *names: str) -> tuple[str, ...]:
    capital = random.random() < 0.5
    return tuple(name.capitalize() if capital else name for name in names)


def _compare(random: Random, picture: pictures.Bars) -> Question:
    first, second = random.sample(range(len(picture.colours)), 2)
    a, b = _cased(random, picture.colours[first], picture.colours[second])
    prompt = random.choice([f"{a} over {b}", f"{a} higher than {b}", f"{a} greater {b}"])
    return _truth("compare", prompt, picture.levels[first] > picture.levels[second])


def _extreme(random: Random, picture: pictures.Bars) -> Question:
    top = random.random() < 0.5
    level = max(picture.levels) if top else min(picture.levels)
    right = picture.colours[picture.levels.index(level)]
    others = [name for name in picture.colours if name != right]
    asked = right if random.random() < 0.5 else random.choice(others)
    (name,) = _cased(random, asked)
    prompts = [
        f"{name} at the {'top' if top else 'bottom'}",
        f"{name} being {'maximum' if top else 'minimum'}",
        f"{name} {'most' if top else 'least'}",
    ]
    return _truth("extreme", random.choice(prompts), asked == right)


def _ask_curve(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture, c = pen.draw(pictures.curve), random.choice
    prompts = ["trend", "course", "form of the curve"]
    asked = [Question("trend", c(prompts), picture.trend, "word") for _ in range(2)]
    asked.append(Question("colour of", "hue of curve", picture.colour, "word"))
    leads = ["key of the course", "key of the trend", "key of what is seen"]
    for _ in range(3):
        asked.append(_keyed(random, "key of trend", c(leads), picture.trend, TRENDS))
    return picture.drawing, asked


def _ask_table(random: Random, pen: SplitPen) -> tuple[Drawing, list[Question]]:
    picture, c = pen.draw(pictures.table), random.choice
    letters, digits = picture.letters, [NUMBERS[digit] for digit in picture.digits]
    listed = " ; ".join(f"{x} {y}" for x, y in zip(letters, digits, strict=True))
    asked = [Question("list", c(["list everything", "contents"]), listed, "plain")]
    for letter, digit in zip(letters, digits, strict=True):
        prompt = c([f"entry of {letter}", f"amount at {letter}", f"number beside {letter}"])
        asked.append(Question("entry", prompt, digit, "number"))
    only = [letter for letter, d in zip(letters, digits, strict=True) if digits.count(d) == 1]
    if only:
        letter = c(only)
        prompt = f"line of {digits[letters.index(letter)]}"
        asked.append(Question("line", prompt, letter, "key"))
    asked.append(_count("count all", c(["count lines", "number of lines"]), len(letters)))
    return picture.drawing, asked


_ASK = {
    "scene": _ask_scene,
    "row": _ask_row,
    "portrait": _ask_portrait,
    "cover": _ask_cover,
    "bars": _ask_bars,
    "curve": _ask_curve,
    "icons": _ask_icons,
    "table": _ask_table,
}


def _text_questions(random: Random, words: Sequence[str]) -> list[Question]:
    """Ask for things that need no picture: looking an option up, copying, writing a word."""
    asked, c = [], random.choice
    if random.random() < 0.4:
        pool = list(c([TRENDS, OBJECTS, COLOUR_NAMES, SHAPES, (*LEVELS, *COLOUR_NAMES)]))
        right = c(pool)
        asked.append(_keyed(random, "key of word", f"key of {right}", right, pool))
    if random.random() < 0.2:
        copied = "".join(c(words) for _ in range(random.randint(1, 6))).strip()
        asked.append(Question("echo", f"echo {copied}", copied, "echo"))
    if random.random() < 0.2:
        number = c(NUMBERS)
        asked.append(Question("write", f"write {number}", number, "number"))
    if random.random() < 0.2:
        word = c([*COLOUR_NAMES, *SHAPES, *OBJECTS, *TRENDS])
        asked.append(Question("write", f"write {word}", word, "word"))
    if random.random() < 0.2:
        truth = c(["true", "false"])
        asked.append(Question("write", f"write {truth}", truth, "truth"))
    return asked

"""The twelve mini tasks: FCIT's names, instruction styles, shared suffixes and answer formats.

Suffixes are shared between tasks as in FCIT, so that identity tokens have to tell tasks apart by
more than the suffix. Answers are balanced where a constant answer would otherwise score well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fcit_app.data.mini import pictures
from fcit_app.data.mini.drawing import Drawing
from fcit_app.data.mini.pictures import Thing
from fcit_app.data.mini.splits import SplitPen
from fcit_app.data.mini.vocabulary import COLOUR_NAMES, PICTURE_SIZE, SHAPES, TRENDS, plural
from fcit_app.errors import DataError

WORD_SUFFIX = "\nAnswer the question using a single word or phrase."
LETTER_SUFFIX = "\nAnswer with the option's letter from the given choices directly."
CAPTION_SUFFIX = "\nGenerate a brief caption for the image."


@dataclass(frozen=True)
class Exercise:
    """A drawn picture, the question about it and the right answer."""

    drawing: Drawing
    question: str
    answer: str


def _options(random: Random, right: str, wrong: Sequence[str]) -> tuple[str, str]:
    """Four shuffled lettered options as text, and the letter of the right one."""
    options = [*random.sample(list(wrong), 3), right]
    random.shuffle(options)
    text = "".join(f"\n{key}. {option}" for key, option in zip("ABCD", options, strict=True))
    return text, "ABCD"[options.index(right)]


def _imagenet_r(pen: SplitPen) -> Exercise:
    picture = pen.draw(pictures.portrait)
    question = "What is the object in the image?" + WORD_SUFFIX
    return Exercise(picture.drawing, question, picture.name.capitalize())


def _arxivqa(pen: SplitPen) -> Exercise:
    picture = pen.draw(pictures.curve)
    wrong = [trend for trend in TRENDS if trend != picture.trend]
    options, letter = _options(pen.random, picture.trend, wrong)
    question = "Which statement describes the curve in this scientific figure?"
    return Exercise(picture.drawing, question + options + LETTER_SUFFIX, letter)


def _iconqa(pen: SplitPen) -> Exercise:
    picture = pen.draw(pictures.icons)
    question = f"How many {plural(picture.things[0].shape)} are shown?" + WORD_SUFFIX
    return Exercise(picture.drawing, question, str(len(picture.things)))


def _clevr_math(pen: SplitPen) -> Exercise:
    # The number that is left is drawn first: every answer from 0 to 4 is equally frequent.
    left = pen.random.randrange(5)
    while True:
        picture = pen.draw(pictures.scene)
        names = [thing.colour for thing in picture.things]
        fitting = [name for name in sorted(set(names)) if len(names) - names.count(name) == left]
        if fitting:
            colour = pen.random.choice(fitting)
            question = f"Subtract all {colour} shapes. How many objects are left?" + WORD_SUFFIX
            return Exercise(picture.drawing, question, str(left))


def _ocr_vqa(pen: SplitPen) -> Exercise:
    picture = pen.draw(pictures.cover)
    question = "What is the title written on the cover of this book?" + WORD_SUFFIX
    return Exercise(picture.drawing, question, picture.title)


def _with_article(thing: Thing) -> str:
    return ("an " if thing.name.startswith("o") else "a ") + thing.name


def _flickr30k(pen: SplitPen) -> Exercise:
    picture = pen.draw(lambda random: pictures.scene(random, 2, 2))
    first, second = picture.things
    caption = f"There is {_with_article(first)} and {_with_article(second)}."
    question = "What is happening in the image?" + CAPTION_SUFFIX
    return Exercise(picture.drawing, question, caption)


def _figureqa(pen: SplitPen) -> Exercise:
    picture, random = pen.draw(pictures.bars), pen.random
    names, levels = picture.colours, picture.levels
    yes = random.random() < 0.5
    kind = random.choice(["maximum", "minimum", "greater"])
    if kind == "greater":
        first, second = random.sample(range(len(names)), 2)
        if (levels[first] > levels[second]) != yes:
            first, second = second, first
        question = f"Is {names[first].capitalize()} greater than {names[second].capitalize()}?"
    else:
        extreme = names[levels.index(max(levels) if kind == "maximum" else min(levels))]
        others = [name for name in names if name != extreme]
        name = extreme if yes else random.choice(others)
        question = f"Is {name.capitalize()} the {kind} of the chart?"
    return Exercise(picture.drawing, question + WORD_SUFFIX, "Yes" if yes else "No")


def _super_clevr(pen: SplitPen) -> Exercise:
    picture, random = pen.draw(pictures.row), pen.random
    position = random.randrange(len(picture.things) - 1)
    asked, beside, side = picture.things[position], picture.things[position + 1], "left"
    if random.random() < 0.5:
        asked, beside, side = beside, asked, "right"
    what, answer = random.choice([("color", asked.colour), ("shape", asked.shape)])
    question = f"There is a thing directly to the {side} of the {beside.name}; what is its {what}?"
    return Exercise(picture.drawing, question + WORD_SUFFIX, answer.capitalize())


def _aokvqa(pen: SplitPen) -> Exercise:
    picture, random = pen.draw(lambda random: pictures.scene(random, 1, 3)), pen.random
    present = {thing.name for thing in picture.things}
    absent = [f"{c} {s}" for c in COLOUR_NAMES for s in SHAPES if f"{c} {s}" not in present]
    options, letter = _options(random, random.choice(sorted(present)), absent)
    question = "Which of these things can you find in the picture?"
    return Exercise(picture.drawing, question + options + LETTER_SUFFIX, letter)


def box_text(thing: Thing) -> str:
    """Write a box as FCIT does: ``[x1, y1, x2, y2]`` relative to the picture's size."""
    return "[" + ", ".join(f"{edge / PICTURE_SIZE:.2f}" for edge in thing.box) + "]"


def _grounding(pen: SplitPen) -> Exercise:
    picture = pen.draw(lambda random: pictures.scene(random, 2, 4, distinct=True))
    thing = pen.random.choice(picture.things)
    question = (
        "Please provide the bounding box coordinate of the region this sentence describes: "
        f"the {thing.name}."
    )
    return Exercise(picture.drawing, question, box_text(thing))


def _dvqa(pen: SplitPen) -> Exercise:
    picture, random = pen.draw(pictures.bars), pen.random
    largest = random.random() < 0.5
    level = max(picture.levels) if largest else min(picture.levels)
    label = picture.colours[picture.levels.index(level)]
    size = "largest" if largest else "smallest"
    question = f"What is the label of the bar with the {size} value?" + WORD_SUFFIX
    return Exercise(picture.drawing, question, label.capitalize())


def _tabmwp(pen: SplitPen) -> Exercise:
    picture, random = pen.draw(pictures.table), pen.random
    line = random.randrange(len(picture.letters))
    question = (
        "The table shows the number of books on each shelf. "
        f"How many books are on shelf {picture.letters[line]}?"
    )
    return Exercise(picture.drawing, question + WORD_SUFFIX, str(picture.digits[line]))


_EXERCISES: dict[str, Callable[[SplitPen], Exercise]] = {
    "imagenet-r": _imagenet_r,
    "arxivqa": _arxivqa,
    "iconqa": _iconqa,
    "clevr-math": _clevr_math,
    "ocr-vqa": _ocr_vqa,
    "flickr30k": _flickr30k,
    "figureqa": _figureqa,
    "super-clevr": _super_clevr,
    "aokvqa": _aokvqa,
    "grounding": _grounding,
    "dvqa": _dvqa,
    "tabmwp": _tabmwp,
}


DRAWN: tuple[str, ...] = tuple(_EXERCISES)
"""Tasks of the catalogue that are drawn here."""


def make_exercise(task: str, pen: SplitPen) -> Exercise:
    """Draw one picture of the pen's split and ask the task's question about it.

    Raises
    ------
    DataError
        If the catalogue's task is one of data folders alone.
    """
    if task not in _EXERCISES:
        raise DataError(
            f"The mini benchmark does not draw task '{task}'. Name a folder with its data "
            f"(data.root), or tasks that are drawn: {', '.join(DRAWN)}."
        )
    return _EXERCISES[task](pen)

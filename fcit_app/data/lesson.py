"""A lesson: what one client learns in one stage, as it travels in a round's configuration.

The server says who learns what (``participants`` and ``lessons``, two lists of one length), so a
client needs no scenario file of its own. Without the two keys, as under Flower's own loop, every
client learns the whole stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fcit_app.data.catalogue import tasks_of
from fcit_app.errors import DataError

Lesson = tuple[str, ...]
"""Names of the tasks or capabilities whose samples a client pools; empty: the whole stage."""

PARTICIPANTS = "participants"
LESSONS = "lessons"

_JOIN = "+"


def lesson_text(lesson: Lesson) -> str:
    """Write a lesson as one word, such as ``figureqa+dvqa``."""
    return _JOIN.join(lesson)


def parse_lesson(text: str) -> Lesson:
    """Read what ``lesson_text`` wrote; the empty text is the whole stage.

    Raises
    ------
    DataError
        If a name is no task and no capability.
    """
    lesson = tuple(text.split(_JOIN)) if text else ()
    tasks_in(lesson)
    return lesson


def tasks_in(names: Iterable[str]) -> tuple[str, ...]:
    """Tasks of some tasks and capabilities, each once, in the order in which they are met.

    Raises
    ------
    DataError
        If a name is no task and no capability.
    """
    return tuple(dict.fromkeys(task for name in names for task in tasks_of(name)))


def write_lessons(lessons: Mapping[int, Lesson]) -> dict[str, list[int] | list[str]]:
    """Entries of a round's configuration that tell each participant its lesson."""
    return {
        PARTICIPANTS: list(lessons),
        LESSONS: [lesson_text(lesson) for lesson in lessons.values()],
    }


def read_lessons(config: Mapping[str, object]) -> dict[int, str]:
    """Read who learns what from a round's configuration.

    Parameters
    ----------
    config : Mapping[str, object]
        May hold ``participants`` (list of int) and ``lessons`` (list of str, aligned).

    Returns
    -------
    dict[int, str]
        Client to the text of its lesson; empty without the two keys.

    Raises
    ------
    DataError
        If the two entries are not two lists of one length, or name a client twice.
    """
    clients, texts = config.get(PARTICIPANTS, []), config.get(LESSONS, [])
    if isinstance(clients, list) and isinstance(texts, list) and len(clients) == len(texts):
        found = dict(zip(clients, texts, strict=True))
        typed = all(isinstance(c, int) and isinstance(text, str) for c, text in found.items())
        if typed and len(found) == len(clients):
            return found
    raise DataError(
        f"The round's configuration has {PARTICIPANTS} = {clients!r} and {LESSONS} = {texts!r};"
        " they must be two lists of one length, of different whole numbers and of texts."
    )


def own_lesson(config: Mapping[str, object], client: int) -> Lesson:
    """Lesson of one client in a round; empty, the whole stage, if nothing is said of lessons.

    Raises
    ------
    DataError
        If the configuration is not sound, tells others' lessons but not the client's, or names no
        task.
    """
    lessons = read_lessons(config)
    if lessons and client not in lessons:
        raise DataError(
            f"The round's configuration tells the lessons of the clients {sorted(lessons)}, but "
            f"not of client {client} to which it was sent."
        )
    return parse_lesson(lessons.get(client, ""))

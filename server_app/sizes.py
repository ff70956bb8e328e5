"""How many bytes travel."""

from __future__ import annotations

from flwr.app import Message


def array_bytes(message: Message) -> int:
    """Bytes of the arrays in a message, as they travel, with their names."""
    if not message.has_content():
        return 0
    return sum(record.count_bytes() for record in message.content.array_records.values())

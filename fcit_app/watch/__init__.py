"""Looking on while a run works, from its folder alone."""

from fcit_app.watch.clients import ClientState, ClientStates
from fcit_app.watch.watched import WatchedRun

__all__ = ["ClientState", "ClientStates", "WatchedRun"]

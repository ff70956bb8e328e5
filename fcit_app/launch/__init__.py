"""Running the app through the real ``flwr run``: private, watched, with a true exit code."""

from fcit_app.launch.app_dir import find_app_dir
from fcit_app.launch.display import Display, follow
from fcit_app.launch.flower import run_app
from fcit_app.launch.signals import watch_signals

__all__ = ["Display", "find_app_dir", "follow", "run_app", "watch_signals"]

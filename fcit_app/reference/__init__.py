"""The reference rows: methods that need no federation (zero-shot, blind, centralized)."""

from fcit_app.reference.run import run_reference

__all__ = ["run_reference"]

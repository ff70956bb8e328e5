"""Federated continual instruction tuning: the framework-free core (no Flower in here)."""

__version__ = "0.1.0"

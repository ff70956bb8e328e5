"""Local fine-tuning of one client."""

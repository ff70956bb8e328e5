"""Answers, their scores, and what a run's accuracy matrix says."""

"""The mini benchmark: FCIT's twelve tasks, drawn at run time, small enough for a laptop."""

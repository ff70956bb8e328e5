"""What the server does: drive stages and rounds, judge replies, evaluate, keep the run folder."""

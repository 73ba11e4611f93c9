"""The names of what a journal writes into a run folder."""

from pathlib import Path

EVENTS = Path("events.jsonl")
METRICS = Path("metrics.jsonl")
STATUS = Path("status.json")
PROMETHEUS = Path("metrics.prom")
BOARDS = Path("tensorboard")
CURVES = Path("losses.png")
CHECKPOINTS = Path("checkpoints")
FAILURES = Path("failures.jsonl")

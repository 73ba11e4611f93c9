"""How torch's threads behave in a command that trains."""

import os


def spin_less() -> None:
    """Let idle threads of torch sleep, unless the user says otherwise; to be called before torch is imported.

    Threads that spin while they wait make a training many times slower where other programs want the cores too. The
    numbers don't change.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

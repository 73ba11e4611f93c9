"""Which device an encoder runs on, as torch sees it."""

from typing import Final

import torch

from pellucid.encoders.errors import DeviceUnusable

AUTO: Final = "auto"


def torch_device(name: str) -> torch.device:
    """The device of this name.

    Args:
        name: `cpu`, `cuda`, `cuda:<n>`, or `auto`: the first accelerator, the CPU where there is none.

    Raises:
        DeviceUnusable: it isn't here, or this build of torch can't use it.
    """
    if name == AUTO:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceUnusable(f"{name!r} is no device.") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceUnusable(f"Encoders run on cpu or cuda, not on {name!r}.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceUnusable(f"The device {name!r} isn't here: torch sees {count} accelerators.")
    return torch.device("cuda", device.index or 0)

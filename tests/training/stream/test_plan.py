import pytest

from pellucid.training.stream import StreamPlan, StreamPlanInvalid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0.0), ("share", 1.1), ("share", float("nan")), ("tiles", 0), ("chunk", -1), ("epochs", 0),
        ("ahead", -1), ("max_bytes", 0), ("max_failed", -0.1), ("max_unreadable", 2.0), ("stall_s", 0.0),
        ("stall_s", float("inf")), ("kills", 0), ("in_a_row", 0), ("patience_s", -1.0),
    ],
)  # fmt: skip
def test_a_setting_that_can_not_be_used_is_named(name, value):
    with pytest.raises(StreamPlanInvalid, match=f"{name} is {value}"):
        StreamPlan(**{name: value})

"""Who is to blame for a process that hangs in the system."""

from pellucid.engine.hangs import Hangs


def test_while_all_hang_nobody_is_blamed() -> None:
    hangs = Hangs()
    hangs.served()
    for _ in range(5):
        assert hangs.hung("a") == 0
        assert hangs.hung("b") == 0
    assert hangs
    assert hangs.holds("a")
    hangs.served()
    assert not hangs
    assert not hangs.holds("a")


def test_one_that_hangs_while_others_are_served_is_blamed_from_the_second_time_on() -> None:
    hangs = Hangs()
    counts = []
    for _ in range(4):
        counts.append(hangs.hung("a"))
        hangs.served()
    assert counts == [0, 1, 2, 3]


def test_the_last_one_is_blamed_where_others_were_served_after_its_first_time() -> None:
    hangs = Hangs()
    hangs.hung("a")
    hangs.served()
    assert [hangs.hung("a") for _ in range(3)] == [1, 2, 3]


def test_alone_from_the_first_it_may_be_storage() -> None:
    hangs = Hangs()
    hangs.served()
    assert [hangs.hung("a") for _ in range(5)] == [0] * 5


def test_it_is_forgotten_once_it_ended() -> None:
    hangs = Hangs()
    hangs.hung("a")
    hangs.forget("a")
    assert not hangs
    hangs.served()
    assert hangs.hung("a") == 0

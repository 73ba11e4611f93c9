"""What runs beside the main loop."""

import asyncio

from pellucid.engine.tasks import Tasks


def test_a_slow_one_is_not_started_again_before_it_ended() -> None:
    async def scene() -> None:
        tasks = Tasks(lambda error: None, lambda: None)
        runs: list[int] = []
        gate = asyncio.Event()

        async def slow() -> None:
            runs.append(1)
            await gate.wait()

        for _ in range(5):
            tasks.once("tick", slow)
            await asyncio.sleep(0)
        assert len(runs) == len(tasks) == 1
        assert tasks.runs("tick")
        gate.set()
        await tasks.settle(5)
        tasks.once("tick", slow)
        await asyncio.sleep(0)
        assert len(runs) == 2

    asyncio.run(scene())


def test_an_exception_is_told_and_what_hangs_is_cancelled() -> None:
    async def scene() -> None:
        failures: list[BaseException] = []
        wakes: list[int] = []
        tasks = Tasks(failures.append, lambda: wakes.append(1))

        async def fail() -> None:
            raise ValueError("no")

        tasks.spawn(fail())
        tasks.spawn(asyncio.Event().wait())  # type: ignore[arg-type]
        await tasks.settle(0.05)
        assert [str(error) for error in failures] == ["no"]
        assert len(wakes) == 2
        assert not len(tasks)

    asyncio.run(scene())

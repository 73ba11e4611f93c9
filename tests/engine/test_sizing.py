"""Sizes come from what was allotted: affinity, nested cgroups of both versions, Slurm."""

import os
import subprocess
import sys

import pytest

from pellucid.engine.sizing import Allotment, Budget, allotted_cores, choose_sizing, memory_budget

GIB = 1 << 30
BATCH = 64 * (224 * 224 * 3 + 1536 * 2)


class Machine:
    """A small tree of what the kernel says, under a folder."""

    def __init__(self, folder):
        self.proc, self.mount = folder / "proc", folder / "cgroup mount"
        (self.proc / "self").mkdir(parents=True)

    def available(self, size):
        (self.proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {size // 1024} kB\n")

    def group(self, lines, *, kind="cgroup2", root="/", options="rw"):
        (self.proc / "self" / "cgroup").write_text(lines)
        place = str(self.mount).replace(" ", "\\040")
        (self.proc / "self" / "mountinfo").write_text(
            "22 1 8:1 / / rw - ext4 /dev/vda rw\n"
            f"31 22 0:28 {root} {place} rw,relatime shared:9 - {kind} {kind} {options}\n"
        )

    def file(self, path, text):
        (self.mount / path).parent.mkdir(parents=True, exist_ok=True)
        (self.mount / path).write_text(text)

    def cores(self, environ=None, affinity=32):
        return allotted_cores(affinity=affinity, environ=environ or {}, proc_root=self.proc)

    def memory(self, environ=None):
        return memory_budget(environ=environ or {}, proc_root=self.proc)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_affinity_alone(machine):
    found = machine.cores(affinity=6)
    assert found.cores == 6
    assert "affinity" in found.why


def test_the_least_quota_on_the_way_up_counts(machine):
    machine.group("0::/batch/job/step\n")
    machine.file("batch/job/step/cpu.max", "max 100000\n")
    machine.file("batch/job/cpu.max", "350000 100000\n")
    machine.file("batch/cpu.max", "800000 100000\n")
    found = machine.cores()
    assert found.cores == 3
    assert "batch/job of 3.50" in found.why


def test_a_quota_below_a_core_still_gives_one(machine):
    machine.group("0::/\n")
    machine.file("cpu.max", "20000 100000\n")
    assert machine.cores().cores == 1


def test_version_1_in_a_container_that_sees_its_own_branch(machine):
    machine.group(
        "4:cpuacct,cpu:/docker/abc/inner\n3:memory:/docker/abc/inner\n",
        kind="cgroup",
        root="/docker/abc",
        options="rw,cpu,cpuacct,memory",
    )
    machine.file("inner/cpu.cfs_quota_us", "-1\n")
    machine.file("inner/cpu.cfs_period_us", "100000\n")
    machine.file("cpu.cfs_quota_us", "400000\n")
    machine.file("cpu.cfs_period_us", "100000\n")
    machine.file("inner/memory.limit_in_bytes", "9223372036854771712\n")
    machine.file("memory.limit_in_bytes", f"{4 * GIB}\n")
    machine.file("memory.usage_in_bytes", f"{2 * GIB}\n")
    machine.file("memory.stat", f"cache 5\ntotal_inactive_file {GIB}\n")
    machine.available(64 * GIB)
    assert machine.cores().cores == 4
    assert machine.memory().bytes == 3 * GIB


@pytest.mark.parametrize(
    ("environ", "cores", "source"),
    [
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "12"}, 3, "SLURM_CPUS_PER_TASK"),
        ({"SLURM_CPUS_ON_NODE": "12"}, 12, "SLURM_CPUS_ON_NODE"),
        ({"SLURM_CPUS_PER_TASK": "64"}, 32, "affinity"),
        ({"SLURM_CPUS_PER_TASK": "nonsense", "SLURM_CPUS_ON_NODE": "0"}, 32, "affinity"),
    ],
)
def test_slurm(machine, environ, cores, source):
    found = machine.cores(environ)
    assert found.cores == cores
    assert source in found.why


def test_memory_is_the_least_of_machine_cgroups_and_slurm(machine):
    machine.group("0::/job/step\n")
    machine.available(40 * GIB)
    assert machine.memory().bytes == 40 * GIB
    machine.file("job/step/memory.max", "max\n")
    machine.file("job/memory.max", f"{16 * GIB}\n")
    machine.file("job/memory.current", f"{6 * GIB}\n")
    machine.file("job/memory.stat", f"anon 1\ninactive_file {2 * GIB}\nactive_file 7\n")
    found = machine.memory()
    assert found.bytes == 12 * GIB
    assert "cgroup limit" in found.why
    assert machine.memory({"SLURM_MEM_PER_NODE": "8192"}).bytes == 8 * GIB


def test_a_limit_that_is_used_up_leaves_nothing(machine):
    machine.group("0::/\n")
    machine.file("memory.max", "1000\n")
    machine.file("memory.current", "5000\n")
    assert machine.memory().bytes == 0


def test_nonsense_in_the_kernels_files_is_passed_over(machine):
    machine.group("garbage\n0::/../outside\n")
    machine.file("cpu.max", "\xff\xfe nonsense")
    (machine.proc / "meminfo").write_text("MemAvailable:\n")
    assert machine.cores(affinity=2).cores == 2
    assert "assumed" in machine.memory().why


def test_this_machine_says_something():
    found = allotted_cores()
    assert 1 <= found.cores <= len(os.sched_getaffinity(0))
    assert memory_budget().bytes > 0


def test_affinity_of_this_very_process_counts():
    core = min(os.sched_getaffinity(0))
    code = "from pellucid.engine.sizing import allotted_cores; print(allotted_cores(environ={}).cores)"
    said = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "1"


def size(cores, memory, device="cpu", **kwargs):
    return choose_sizing(
        batch_bytes=BATCH,
        device=device,
        cores=Allotment(cores=cores, why="cores"),
        memory=Budget(bytes=int(memory), why="memory"),
        **kwargs,
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64, 256])
@pytest.mark.parametrize("memory", [0, GIB // 2, 3 * GIB, 16 * GIB, 512 * GIB])
def test_every_machine_gets_something_that_runs(device, cores, memory):
    sizing = size(cores, memory, device)
    assert 1 <= sizing.readers <= sizing.max_readers <= min(cores, 32)
    assert 1 <= sizing.device_threads <= cores
    assert 4 <= sizing.n_slots <= 32
    assert sizing.n_slots == 4 or sizing.n_slots * BATCH <= memory / 8
    assert 2 <= sizing.open_scans <= 8
    assert all(line.endswith(".") for line in sizing.explanation)


def test_small_machines():
    one, two = size(1, 4 * GIB), size(2, 8 * GIB)
    assert (one.readers, one.max_readers, one.device_threads) == (1, 1, 1)
    assert (two.readers, two.max_readers, two.device_threads) == (1, 2, 1)
    assert "little memory" in " ".join(size(1, GIB).explanation)
    assert "little memory" not in " ".join(one.explanation)


def test_an_accelerator_leaves_the_cores_to_readers():
    sizing = size(16, 128 * GIB, "cuda")
    assert (sizing.readers, sizing.max_readers, sizing.device_threads, sizing.n_slots) == (4, 16, 1, 32)


def test_little_memory_bounds_readers_and_says_so():
    sizing = size(64, 4 * GIB)
    assert sizing.max_readers == 3
    assert "bear no more" in " ".join(sizing.explanation)


def test_an_operators_threads_are_taken():
    sizing = size(8, 16 * GIB, device_threads=2)
    assert sizing.device_threads == 2
    assert "settings" in " ".join(sizing.explanation)

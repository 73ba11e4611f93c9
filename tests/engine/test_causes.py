import pytest

from pellucid.engine.causes import OUT_OF_MEMORY, OomKills, describe_end


@pytest.mark.parametrize(
    ("returncode", "killed", "oom", "cause"),
    [
        (0, None, False, "exit 0"),
        (3, "stalled", False, "exit 3"),
        (-11, None, False, "SIGSEGV"),
        (-9, None, False, "SIGKILL"),
        (-9, None, True, OUT_OF_MEMORY),
        (-9, "stalled", True, "killed: stalled"),
        (-11, "stalled", False, "SIGSEGV"),
        (-200, None, False, "signal 200"),
    ],
)
def test_an_end_is_described_by_who_caused_it(returncode, killed, oom, cause):
    assert describe_end(returncode, killed=killed, oom=oom) == cause


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


EVENTS = "low 0\nhigh 0\nmax 3\noom 1\noom_kill {}\noom_group_kill 0\n"
V2 = {"proc/self/cgroup": "0::/job/step\n", "proc/vmstat": "oom_kill 50\n"}
V1 = {"proc/self/cgroup": "4:memory:/job\n3:cpu:/\n0::/\n", "proc/vmstat": "nr_free 1\noom_kill 50\n"}


@pytest.mark.parametrize(
    ("files", "counter", "text"),
    [
        (V2, "sys/fs/cgroup/job/step/memory.events", EVENTS),
        (V2, "sys/fs/cgroup/memory.events", EVENTS),
        (V1, "sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
        ({"proc/self/cgroup": "0::/\n"}, "proc/vmstat", "nr_free 1\noom_kill {}\n"),
        ({}, "proc/vmstat", "oom_kill {}\n"),
    ],
)
def test_a_rise_of_the_kernels_count_is_seen_once(tmp_path, files, counter, text):
    tree(tmp_path, files | {counter: text.format(7)})
    kills = OomKills(tmp_path)
    assert not kills.rose()
    tree(tmp_path, {counter: text.format(9)})
    assert kills.rose()
    assert not kills.rose()


def test_a_system_that_tells_nothing_has_no_kills(tmp_path):
    assert not OomKills(tmp_path).rose()

"""A Slurm that belongs to one test session: Debian's packages, several nodes on this machine, nothing of it in /etc."""

import contextlib
import getpass
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_START_S = 120.0
_STOP_S = 60.0
_DAEMONS = ("munged", "slurmctld", "slurmd")
_SBIN = "/usr/sbin:/sbin"  # Debian's daemons, where a user's path lacks them
_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue_s}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=60
SlurmdTimeout=120
InactiveLimit=0
KillWait={kill_wait_s}
MinJobAge=3600
WaitTime=5
SlurmdParameters=config_overrides
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace_s}
PartitionName=urgent Nodes=ALL Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


class SlurmLab:
    """A controller and its nodes, all on this machine.

    `WaitTime` is set as on sites that end the other tasks soon after the first: a batch script must say otherwise.

    Args:
        n_nodes: virtual nodes.
        cpus: of each node, whatever this machine has.
        requeue_s: how long a requeued job waits before it starts again.
        kill_wait_s: from SIGTERM to SIGKILL where a job is cancelled or its time is over.
        grace_s: from SIGTERM on where a job is preempted.
    """

    def __init__(
        self, *, n_nodes: int = 2, cpus: int = 2, requeue_s: int = 5, kill_wait_s: int = 60, grace_s: int = 60
    ) -> None:
        self._path = f"{os.environ.get('PATH', '')}:{_SBIN}"
        missing = [name for name in _DAEMONS if shutil.which(name, path=self._path) is None]
        if missing:
            raise RuntimeError(f"The tests need {missing}: apt-get install slurmctld slurmd slurm-client munge")
        # Not pytest's folder: a socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pellucid-slurm-", dir="/tmp"))
        host = socket.gethostname().partition(".")[0]
        _make_resolvable(host)
        # The first node has this machine's name, so that the name of a job's first node resolves, as on a real site.
        self.nodes = [host if nth == 1 else f"{host}-{nth}" for nth in range(1, n_nodes + 1)]
        ports = _free_ports(n_nodes + 1)
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=1000"
            for name, port in zip(self.nodes, ports[1:], strict=True)
        ]
        text = _CONF.format(
            host=host,
            port=ports[0],
            user=getpass.getuser(),
            folder=self.folder,
            nodes="\n".join(lines),
            requeue_s=requeue_s,
            kill_wait_s=kill_wait_s,
            grace_s=grace_s,
        )
        (self.folder / "slurm.conf").write_text(text)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.environ |= {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": self._path}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle."""
        folder = self.folder
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        folder.chmod(0o755)
        own = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *own)
        wait_until((folder / "munge.socket").exists, _START_S, self.log)
        self._daemon("slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        for name in self.nodes:
            (folder / f"spool-{name}").mkdir()
            self._daemon("slurmd", "-D", "-N", name, "-f", str(folder / "slurm.conf"))
        wait_until(lambda: self._states() == ["idle"] * len(self.nodes), _START_S, self.log)

    def close(self) -> None:
        """Cancel every job, end every daemon, and remove all of it."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("scancel", "--signal=KILL", "--user", getpass.getuser())
            self.run("scancel", "--user", getpass.getuser())
            # a step that outlives its daemons would go on with nobody to end it
            wait_until(lambda: not self.run("squeue", "-h"), _STOP_S, self.log)
        for process in reversed(self._daemons):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        """The daemons' process numbers."""
        return [process.pid for process in self._daemons]

    def run(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environ, timeout=_STOP_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def submit(self, script: Path, *args: str, options: tuple[str, ...] = ()) -> str:
        """Submit a batch script; the job's number."""
        return self.run("sbatch", "--parsable", *options, str(script), *args)

    def state(self, job: str) -> str:
        """The state of a job or of one task of an array (`7_2`), such as RUNNING or COMPLETED."""
        return self._job(job)["job_state"]

    def restarts(self, job: str) -> int:
        """How often a job was requeued."""
        return int(self._job(job)["restart_cnt"])

    def exit_code(self, job: str) -> int:
        """What the job's script ended with."""
        return int(self._job(job)["exit_code"]) >> 8

    def log(self) -> str:
        """The last lines of the daemons' logs, for a message."""
        texts = [f"{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(texts)

    def _job(self, job: str) -> dict[str, str]:
        array, _, task = job.partition("_")
        jobs = json.loads(self.run("squeue", "--json", "--states=all"))["jobs"]
        found = [one for one in jobs if str(one["job_id"]) == job]
        if task:
            found = [one for one in jobs if str(one["array_job_id"]) == array and str(one["array_task_id"]) == task]
        if not found:
            raise RuntimeError(f"Slurm knows no job {job}.")
        return found[0]

    def _states(self) -> list[str]:
        try:
            return self.run("sinfo", "-h", "-N", "-p", "low", "-o", "%t").split()
        except RuntimeError:
            return []  # the controller isn't up yet

    def _daemon(self, *command: str) -> None:
        # It ends with this process, even where that is killed.
        full = ["setpriv", "--pdeathsig=TERM", *command]
        with (self.folder / "daemons.log").open("ab") as log:
            self._daemons.append(subprocess.Popen(full, stdout=log, stderr=log, env=self.environ, cwd="/"))


@contextlib.contextmanager
def running_lab(**settings: int) -> Iterator[SlurmLab]:
    """A Slurm for as long as the block lasts; `settings` are SlurmLab's."""
    lab = SlurmLab(**settings)
    try:
        lab.start()
        yield lab
    finally:
        lab.close()


def wait_until(reached: Callable[[], bool], timeout_s: float, tell: Callable[[], str]) -> None:
    """Look twice a second until something is so; `tell` is the message where it never is."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"not reached within {timeout_s:.0f} s:\n{tell()}")
        time.sleep(0.2)


def _make_resolvable(host: str) -> None:
    try:
        socket.gethostbyname(host)
    except OSError:
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 {host}\n")


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

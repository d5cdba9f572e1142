"""Reading SLURM's queue from programs that stand in for squeue and scontrol.

Comments and commands are made by the plugin's and Snakemake's own functions.
"""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_slurm.utils import get_job_wildcards
from snakemake_interface_executor_plugins.utils import (
    TargetSpec,
    encode_target_jobs_cli_args,
    format_cli_arg,
)

from perigee.errors import PerigeeError
from perigee.slurm import Queue
from perigee.store.progress import Progress

VERSIONS = [f"convnet-digits-lr0.1-wd0.01-seed{n}-0123456789abcdef/e4" for n in range(3)]


class Cluster:
    """Programs on the PATH that answer as SLURM would, and what they were asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")
        monkeypatch.chdir(folder)
        self.lines: list[str] = []
        self.says("squeue", "")

    def says(self, program: str, script: str) -> None:
        path = self.programs / program
        path.write_text(f'#!/bin/sh\necho "{program} $@" >> "{self.folder}/asked"\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def submit(
        self,
        number: str,
        state: str,
        place: str,
        comment: str,
        workdir: Path | None = None,
    ) -> None:
        self.lines.append(f"{number}|{state}|{place}|{workdir or self.folder}|{comment}")
        (self.folder / "queue").write_text("\n".join([*self.lines, ""]))
        self.says("squeue", f'cat "{self.folder}/queue"')

    def group(self, number: str, versions: list[str], receipt: int = 1) -> None:
        """The script of a group's job, as sbatch --wrap writes it."""
        targets = [TargetSpec("train_run", {"version": v, "n": str(receipt)}) for v in versions]
        command = format_cli_arg("--target-jobs", encode_target_jobs_cli_args(targets))
        (self.folder / f"script-{number}").write_text(
            "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n"
            f"/usr/bin/python3 -m snakemake --snakefile 'a folder/Snakefile' {command}"
            " --allowed-rules 'train_run' --local-groupid '1' --cores 'all'\n"
        )
        self.says("scontrol", f'cat "{self.folder}/script-$3"')

    def asked(self, program: str) -> int:
        asked = (self.folder / "asked").read_text().splitlines()
        return sum(line.startswith(program) for line in asked)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def comment_of(name: str, rule: str = "train_run", receipt: int = 1) -> str:
    """The comment that the plugin makes of a job, its wildcards in the order of the output."""
    wildcards = get_job_wildcards(SimpleNamespace(wildcards=[name, str(receipt)]))
    return f"rule_{rule}_wildcards_{wildcards}"


def test_a_jobs_comment_names_its_product(cluster: Cluster) -> None:
    cluster.submit("7", "PENDING", "(Resources)", comment_of(VERSIONS[0]))
    cluster.submit("8", "RUNNING", "node1", comment_of(VERSIONS[1], receipt=12))
    waiting, running = Queue(Path("results/store")).jobs()
    assert (waiting.id, waiting.state, waiting.place) == ("7", "PENDING", "(Resources)")
    assert (running.id, running.state, running.place) == ("8", "RUNNING", "node1")
    assert [[job.makes(version) for version in VERSIONS] for job in (waiting, running)] == [
        [True, False, False],
        [False, True, False],
    ]
    assert not waiting.is_group
    assert cluster.asked("squeue") == 1, "one call for all jobs"


def test_a_groups_script_names_all_its_products_and_is_asked_for_once(cluster: Cluster) -> None:
    # The name of a group is its id and its rules.
    cluster.submit("9", "PENDING", "(Priority)", "rule_0_train_run")
    cluster.submit("10", "RUNNING", "node2", "rule_1_train_run")
    cluster.group("9", VERSIONS[:2])
    cluster.group("10", VERSIONS[2:])
    queue = Queue(Path("results/store"))
    for _ in range(2):
        first, second = queue.jobs()
        assert [first.makes(version) for version in VERSIONS] == [True, True, False]
        assert [second.makes(version) for version in VERSIONS] == [False, False, True]
        assert first.is_group
    assert cluster.asked("scontrol") == 2


def test_a_value_with_a_comma_makes_no_difference_to_the_others(cluster: Cluster) -> None:
    cluster.submit("9", "PENDING", "(None)", "rule_0_train_run")
    cluster.group("9", ["a,b", VERSIONS[1]])
    (job,) = Queue(Path("results/store")).jobs()
    assert job.makes(VERSIONS[1])


@pytest.mark.parametrize("kind", ["single", "group"])
def test_a_name_that_only_begins_alike_is_another_product(kind: str, cluster: Cluster) -> None:
    longer = f"{VERSIONS[0]}0"
    if kind == "single":
        cluster.submit("7", "PENDING", "(None)", comment_of(longer))
    else:
        cluster.submit("7", "PENDING", "(None)", "rule_0_train_run")
        cluster.group("7", [longer], receipt=3)
    (job,) = Queue(Path("results/store")).jobs()
    assert job.makes(longer)
    assert not job.makes(VERSIONS[0])
    assert not job.makes(VERSIONS[0].removesuffix("/e4"))
    assert not job.makes("1")


def test_a_product_without_epochs_is_told_by_its_name(cluster: Cluster) -> None:
    cluster.submit("7", "PENDING", "(None)", comment_of("predictions-0123456789abcdef", "evaluate"))
    (job,) = Queue(Path("results/store")).jobs()
    assert job.makes("predictions-0123456789abcdef")


@pytest.mark.parametrize("script", ["exit 1", 'echo "it\'s"', "echo sleep --target-jobs", ""])
def test_a_script_that_tells_nothing_makes_nothing(cluster: Cluster, script: str) -> None:
    cluster.submit("9", "RUNNING", "node1", "(null)")
    cluster.says("scontrol", script)
    (job,) = Queue(Path("results/store")).jobs()
    assert not any(job.makes(version) for version in VERSIONS)


def test_jobs_of_another_folder_count_only_if_they_have_the_same_store(
    cluster: Cluster, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    cluster.submit("7", "PENDING", "(None)", comment_of(VERSIONS[0]), elsewhere)
    assert Queue(Path("results/store")).jobs() == []
    (job,) = Queue(tmp_path / "results/store").jobs()
    assert job.id == "7"


def test_what_is_ending_is_left_to_the_files(cluster: Cluster) -> None:
    cluster.submit("7", "COMPLETING", "node1", comment_of(VERSIONS[0]))
    assert Queue(Path("results/store")).jobs() == []


def test_lines_of_another_shape_are_passed_over(cluster: Cluster) -> None:
    cluster.says("squeue", "echo 'CLUSTER: one'; echo; echo '7|PENDING'")
    assert Queue(Path("results/store")).jobs() == []


def test_without_squeue_there_are_no_jobs(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert Queue(Path("results/store")).jobs() == []


def test_a_queue_that_does_not_answer_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.says("squeue", "echo 'squeue: error: line one' >&2; echo 'Zero Bytes' >&2; exit 1")
    with pytest.raises(PerigeeError, match=r"^squeue failed: Zero Bytes$"):
        Queue(Path("results/store")).jobs()
    monkeypatch.setattr("perigee.slurm.ANSWER_S", 0.2)
    cluster.says("squeue", "exec sleep 60")
    with pytest.raises(PerigeeError, match=r"^squeue gave no answer"):
        Queue(Path("results/store")).jobs()


def test_a_process_knows_the_job_that_it_is_part_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert Progress(epochs=1).job == "17"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert Progress(epochs=1).job is None

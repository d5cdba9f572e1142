"""Explanations of SLURM's refusals, which name the line of the profile to change."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from snakemake_executor_plugin_perigee_slurm.refusals import refusal

PROFILE = """\
executor: perigee-slurm
default-resources:
  slurm_partition: main
  # slurm_account: mine
set-resources:
  train_run:
    gres: "gpu:a100:1"
    mem_mb: 6000
"""
NO_NODE = "allocation failure: Requested node configuration is not available"


@pytest.fixture(autouse=True)
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster/profile.yaml").write_text(PROFILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["snakemake", "--profile=cluster", "all_figures"])
    pretend_sinfo(tmp_path, monkeypatch)


def pretend_sinfo(
    folder: Path, monkeypatch: pytest.MonkeyPatch, down: str = "", in_main: str = "gpu:v100:4"
) -> None:
    program = folder / "bin/sinfo"
    program.parent.mkdir(exist_ok=True)
    told_of_those = f"echo '{down}'" if down else ":"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f"  *--states*) {told_of_those} ;;\n"
        f"  *--partition=main*) echo '{in_main}' ;;\n"
        "  *%R:*) echo 'main: 1:00:00' ;;\n"
        "  *%R*) echo main; echo gpu; echo main ;;\n"
        "  *) echo 'gpu:v100:4, 64000 MB, 16 CPUs' ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("error", "resources", "said"),
    [
        (
            "sbatch: error: invalid partition specified: nope",
            {"slurm_partition": "nope"},
            "SLURM has no partition 'nope' (it has: gpu; main); change 'slurm_partition' in line 3 "
            "of cluster/profile.yaml.",
        ),
        (
            "allocation failure: Invalid account or account/partition combination specified",
            {},
            "SLURM wants an account for train_run; set 'slurm_account' in line 4 of "
            "cluster/profile.yaml.",
        ),
        (
            "allocation failure: Invalid account or account/partition combination specified",
            {"slurm_account": "yours"},
            "SLURM does not take the account 'yours' for train_run; set 'slurm_account' in line 4 "
            "of cluster/profile.yaml.",
        ),
        (
            NO_NODE,
            {"gres": "gpu:a100:1", "mem_mb": 6000, "_cores": 8},
            "No node has what train_run asks for (gres: gpu:a100:1, mem_mb: 6000, 8 CPUs; there "
            "are nodes with gpu:v100:4, 64000 MB, 16 CPUs); change 'gres' in line 7 of "
            "cluster/profile.yaml.",
        ),
        (
            NO_NODE,
            {"gres": "gpu:v100:2", "slurm_partition": "main", "mem_mb": 96000, "_cores": 8},
            "No node has what train_run asks for (gres: gpu:v100:2, mem_mb: 96000, 8 CPUs; there "
            "are nodes with gpu:v100:4, 64000 MB, 16 CPUs); change 'mem_mb' in line 8 of "
            "cluster/profile.yaml.",
        ),
        (
            "allocation failure: Requested time limit is invalid (missing or exceeds some limit)",
            {"runtime": 900},
            "train_run asks for 900 minutes, more than the partition allows (main: 1:00:00); set "
            "'longest_run_minutes' in config/config.yaml to what it allows, or change "
            "'slurm_partition' in line 3 of cluster/profile.yaml.",
        ),
        (
            "allocation failure: Invalid qos specification",
            {"qos": "long"},
            "SLURM does not take the QOS for train_run; change 'qos' in cluster/profile.yaml.",
        ),
    ],
)
def test_a_sentence_and_a_line(error: str, resources: dict[str, object], said: str) -> None:
    assert refusal(error, "train_run", resources) == said


@pytest.mark.parametrize(
    ("down", "resources", "refused"),
    [
        ("gpu:a100:4", {"gres": "gpu:a100:1"}, False),
        ("gpu:a100:4", {"gres": "gpu:1"}, False),
        ("gpu:a100:4", {"gpu": 1, "gpu_model": "a100"}, False),
        ("gpu:v100:4", {"gres": "gpu:a100:1"}, True),
        ("(null)", {"gpu": 1, "gpu_model": "a100"}, True),
    ],
)
def test_a_node_that_is_down_may_be_the_one(
    down: str,
    resources: dict[str, object],
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SLURM answers alike whether no node has a GPU of that model or the node that has is down."""
    assert refusal(NO_NODE, "train_run", resources) is not None
    pretend_sinfo(tmp_path, monkeypatch, down=down)
    assert (refusal(NO_NODE, "train_run", resources) is not None) == refused


def test_what_no_profile_can_mend_is_left_to_submitting() -> None:
    error = (
        "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size "
        "and/or time limits)"
    )
    assert refusal(error, "train_run", {}) is None


def test_no_answer_is_told_as_such() -> None:
    error = "allocation failure: Unable to contact slurm controller (connect failure)"
    told = refusal(error, "train_run", {})
    assert told is not None
    assert told.startswith("SLURM does not answer")


def test_the_line_with_the_value_is_named_and_not_another_of_the_key(tmp_path: Path) -> None:
    two = PROFILE + "    slurm_partition: gpus\n"
    (tmp_path / "cluster/profile.yaml").write_text(two)
    for partition, line in (("gpus", 9), ("main", 3)):
        error = f"invalid partition specified: {partition}"
        told = refusal(error, "train_run", {"slurm_partition": partition})
        assert told is not None
        assert f"'slurm_partition' in line {line} of" in told


def test_without_sinfo_and_without_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["snakemake"])
    told = refusal("invalid partition specified: x", "train_run", {"slurm_partition": "x"})
    expected = "SLURM has no partition 'x' (it has: see sinfo); change 'slurm_partition' in the"
    assert told == f"{expected} profile."


@pytest.mark.parametrize(
    ("resources", "key"),
    [
        ({"gres": "gpu:v100:1", "slurm_partition": "main"}, "slurm_partition"),
        ({"gres": "gpu:a100:1", "slurm_partition": "main"}, "gres"),
        ({"mem_mb": 96000, "slurm_partition": "main"}, "mem_mb"),
    ],
)
def test_where_gpus_have_a_partition_of_their_own(
    resources: dict[str, object], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_sinfo(tmp_path, monkeypatch, in_main="(null)")
    told = refusal(NO_NODE, "train_run", resources)
    assert told is not None
    assert f"change '{key}' in line" in told


def test_a_job_without_gpus_waits_for_a_node_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_sinfo(tmp_path, monkeypatch, down="(null)", in_main="(null)")
    assert refusal(NO_NODE, "make_table", {"mem_mb": 8000, "slurm_partition": "main"}) is None

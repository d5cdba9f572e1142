"""A cluster's profile, line by line, and what options of the command line take away from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from perigee.paths import ROOT, shown

FILES = ("profile.yaml", "config.yaml")
SLURM = ROOT / "slurm" / FILES[0]


def given_profile(arguments: Sequence[str], default: str | None = None) -> Path | None:
    """The file of the profile that Snakemake was called with, if it was.

    Args:
        arguments: of Snakemake's command line.
        default: name of the profile if none was given.
    """
    words = [word for argument in arguments for word in argument.split("=", 1)]
    given = [after for word, after in pairwise(words) if word == "--profile"]
    name = given[-1] if given else os.environ.get("SNAKEMAKE_PROFILE", default)
    paths = (Path(name) / file for file in FILES) if name else ()
    return next((path for path in paths if path.is_file()), None)


def read_profile(path: Path) -> dict[str, Any]:
    """The options that a profile sets; none if it cannot be read."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def where(path: Path, *keys: str) -> str:
    """The place of a key in a profile, in words: its line, or that of the nearest key above it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return f"the profile {shown(path)}"
    line = None
    for key in keys:
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        found = next((pair for pair in entries if pair[0].value == key), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return shown(path) if line is None else f"line {line} of {shown(path)}"


def lost_configuration(arguments: Sequence[str], read: Iterable[Path]) -> str | None:
    """A sentence if --configfile has replaced the profile's files, which then are not read.

    Args:
        arguments: of Snakemake's command line.
        read: the files that Snakemake lays over config/config.yaml.
    """
    profile = given_profile(arguments)
    if profile is None:
        return None
    wanted = read_profile(profile).get("configfile") or []
    wanted = [wanted] if isinstance(wanted, str) else wanted
    profiles = [Path(path).absolute() for path in wanted]
    given = [Path(path).absolute() for path in read]
    lost = [name for name, path in zip(wanted, profiles, strict=True) if path not in given]
    if not lost:
        return None
    together = " ".join([*wanted, *(shown(path) for path in given if path not in profiles)])
    return (
        f"--configfile replaces what {where(profile, 'configfile')} says, so that "
        f"{' and '.join(lost)} would not be read; name them too: --configfile {together}"
    )


def lost_resources(arguments: Sequence[str], rule: str, resources: Mapping[str, Any]) -> str | None:
    """A sentence if a job lacks resources that the profile gives its rule, such as its GPU.

    Args:
        arguments: of Snakemake's command line.
        rule: name of the job's rule.
        resources: of the job.
    """
    profile = given_profile(arguments)
    if profile is None:
        return None
    document = read_profile(profile)
    own = (document.get("set-resources") or {}).get(rule) or {}
    for option, keys, told in (
        ("set-resources", (rule,), own),
        ("default-resources", (), document.get("default-resources") or {}),
    ):
        entries = told.items() if isinstance(told, dict) else ()
        for key, value in entries:
            if value and not resources.get(key):
                return (
                    f"{rule} would be submitted without '{key}: {value}': --{option} on the "
                    "command line replaces all of the profile's; change "
                    f"{where(profile, option, *keys, key)} instead, or name all that stands there."
                )
    return None


def memory_advice(rule: str | None) -> str:
    """Advice for jobs of a rule that lack memory.

    Args:
        rule: its name; None if it is not known.
    """
    keys = ("set-resources", rule, "mem_mb") if rule else ("set-resources",)
    return (
        "run fewer jobs at a time (--cores) or make the network smaller; on a cluster raise "
        f"'mem_mb' of {rule or 'the rule'} in {where(SLURM, *keys)} (--set-resources would replace "
        "all that stands there)"
    )

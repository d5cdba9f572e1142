"""Numbers that pages repeat from files of the project, or that the plan tells."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from perigee.claims.outcomes import reproduced_on_the_border
from perigee.planning.kinds import kinds_of
from perigee.planning.plan import make_plan

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_verdicts_in_the_readme_are_those_of_the_evidence() -> None:
    found = pd.read_csv(ROOT / "evidence/laptop-claims.csv")
    found["figure"] = found["paper"] + "_" + found["figure"]
    rows = re.findall(r"^\| `(\w+_fig\d)` (\|(?: [^|]*\|)+)$", page("README.md"), re.MULTILINE)
    told = {figure: cells(rest) for figure, rest in rows}
    assert set(told) == set(found["figure"])
    for figure, claims in found.groupby("figure"):
        identities = claims["kind"] == "identity"
        verdicts = Counter(claims[~identities]["verdict"])
        may_fail, *rest, holding = told[str(figure)]
        assert int(may_fail) == sum(verdicts.values()), figure
        if rest != ["", "", ""]:
            reproduced, contradicted, others = rest
            numbers = [int(one) for one in re.findall(r"\d+", others)]
            decided = {"reproduced": int(reproduced), "contradicted": int(contradicted)}
            decided["inconclusive"] = numbers[0]
            assert {name: verdicts[name] for name in decided} == decided, figure
            assert sum(numbers[1:]) == sum(verdicts.values()) - sum(decided.values()), figure
        holds = (claims[identities]["verdict"] == "holds").sum()
        assert holding == (f"{holds} of {identities.sum()}" if identities.any() else ""), figure


def test_the_readme_tells_how_many_would_be_reproduced_on_the_border() -> None:
    found = pd.read_csv(ROOT / "evidence/laptop-claims.csv", dtype=str).fillna("")
    empirical = found[found["kind"] != "identity"]
    judged = empirical[empirical["verdict"].isin(["reproduced", "contradicted", "inconclusive"])]
    told = re.search(
        r"each of the (\d+) that could be judged .*?, about (\d+)\swould",
        page("README.md"),
        re.DOTALL,
    )
    assert told is not None
    chance = reproduced_on_the_border(judged.to_dict("records"))
    assert [int(one) for one in told.groups()] == [len(judged), round(chance)]
    all_rows = re.search(r"^\| all \|(.*)\|$", page("README.md"), re.MULTILINE)
    assert all_rows is not None
    verdicts = Counter(empirical["verdict"])
    decided = [verdicts[one] for one in ("reproduced", "contradicted", "inconclusive")]
    numbers = [int(one) for one in re.findall(r"\d+", all_rows[1])]
    holds = int((found["verdict"] == "holds").sum())
    identities = len(found) - len(empirical)
    others = len(empirical) - sum(decided)
    assert numbers == [len(empirical), *decided, others, holds, identities]


def test_the_steps_of_periodic_at_paper_scale_are_those_of_the_plan() -> None:
    steps: Counter[str] = Counter()
    runs = make_plan(["periodic"], "paper").of_papers.runs
    for kind in kinds_of(runs.values()):
        model = kind.run.spec.model
        steps[f"{model.name} {model.parameters['width']}"] += kind.steps
    told = re.search(
        r"are (\d+) runs of ([\d.]+) million steps: ([\d.]+) million of the ConvNet of width 32, "
        r"([\d.]+) of width 64\s\(figure 7\), ([\d.]+) of ResNet-18 of width 64 \(figure 1\), "
        r"([\d.]+) of width 16",
        page("docs/gpus.md"),
    )
    assert told is not None
    count, *millions = told.groups()
    assert int(count) == len(runs)
    networks = ("convnet 32", "convnet 64", "resnet18 64", "resnet18 16")
    assert set(steps) == set(networks)
    for number, expected in zip(
        millions, [sum(steps.values()), *(steps[one] for one in networks)], strict=True
    ):
        assert float(number) == pytest.approx(expected / 1e6, abs=0.06)

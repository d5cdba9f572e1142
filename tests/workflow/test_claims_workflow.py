"""Claims through the whole workflow: judged, gathered, printed, and judged anew when due."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from perigee.claims import outcomes
from support.workspace import Workspace, figure_jobs

COLUMNS = ",".join(outcomes.COLUMNS)
GATHERED = {"gather_claims", "write_pages"}
JUDGE_FIG3 = "judge_claims periodic_fig3"
SHOW = ("python", "-m", "perigee", "claims", "--claims", "results/smoke/claims.csv")


def claims_of(workspace: Workspace) -> pd.DataFrame:
    path = workspace.root / "results/smoke/claims.csv"
    assert path.read_text().startswith(COLUMNS + "\n")
    return pd.read_csv(path, keep_default_na=False)


def set_bound(study: dict[str, Any]) -> None:
    claim = study["figures"]["fig3"]["claims"]["no_period_at_the_lowest_rate"]
    claim["expected"] = {"at_most": 1}


def test_every_claim_of_every_figure_has_a_row(finished: Workspace) -> None:
    claims = claims_of(finished)
    # At smoke scale only what is computed without training can be tested.
    for figure, rows in claims.groupby("figure"):
        expected = {"holds"} if figure == "fig2" else {"not testable at this scale"}
        assert set(rows["verdict"]) == expected
    assert set(claims["figure"]) == {"fig2", "fig3", "fig4", "fig6"}
    assert claims["source"].str.contains("NeurIPS 202").all()
    assert claims["source"].str.contains("Section").all()
    # One number against the runs it is measured on: losses in the second half of training.
    stuck = claims[claims["claim"].str.contains("stuck at a high train loss")]
    plotted = pd.read_csv(finished.root / "results/smoke/figures/periodic_fig3.csv")
    losses = plotted.groupby("optimiser.learning_rate")["train_loss"]
    highest, low = (losses.get_group(rate).iloc[-3:].median() for rate in (3, 0.1))
    assert stuck["estimate"].tolist() == [f"{highest / low:.4g}"]


def column_of(table: str, number: int) -> str:
    """The text in a column of a table as printed, without its borders."""
    rows = (re.split("[│┃]", line) for line in table.splitlines())
    return " ".join(" ".join(row[number] for row in rows if len(row) > number).split())


def test_the_table_is_printed_with_verdicts_in_colour_in_a_terminal(finished: Workspace) -> None:
    plain = finished.by_hand(*SHOW).stdout
    assert "\x1b[" not in plain
    claims = claims_of(finished)
    told = column_of(plain, 2)
    for claim in claims["claim"]:
        assert claim in told
    # Judged at smoke scale is what formulas say.
    printed = " ".join(plain.split())
    identities = sum(claims["kind"] == "identity")
    assert identities > 2
    assert f"Of {len(claims) - identities} empirical claims: 0 reproduced" in printed
    others = identities - 2
    assert f"Of {identities} identities: 2 hold, {others} not testable at this scale." in printed
    coloured = finished.by_hand(*SHOW, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert re.search(r"\x1b\[32mholds", coloured), coloured
    assert re.search(r"\x1b\[33mnot testable", coloured)


def test_a_claim_changed_and_restored(workspace: Workspace) -> None:
    study = workspace.root / "config/papers/periodic/claims/fig3.yaml"
    csv = workspace.root / "results/smoke/claims.csv"
    before, first = study.read_text(), csv.read_bytes()
    workspace.edit_paper(set_bound)
    assert workspace.jobs("everything") == {JUDGE_FIG3} | GATHERED
    assert workspace.jobs("results/smoke/claims.csv") == {JUDGE_FIG3, "gather_claims"}
    assert workspace.jobs("all_figures") == set()
    workspace.make("everything")
    assert csv.read_bytes() != first
    study.write_text(before)
    assert workspace.jobs("everything") == GATHERED
    # An edited table is put right, too.
    csv.write_bytes(first.replace(b"not testable at this scale", b"reproduced"))
    printed = workspace.make("claims")
    assert "2 hold, " in printed
    assert csv.read_bytes() == first


def test_wording_is_gathered_and_not_judged_anew(workspace: Workspace) -> None:
    def reword(study: dict[str, Any]) -> None:
        claim = study["figures"]["fig3"]["claims"]["no_period_at_the_lowest_rate"]
        claim["says"] = "In other words."

    workspace.edit_paper(reword)
    assert workspace.jobs("everything") == GATHERED
    workspace.make("everything")
    assert "In other words." in set(claims_of(workspace)["claim"])
    assert "In other words." in (workspace.root / "results/smoke/pages/claims.html").read_text()
    assert workspace.jobs("everything") == set()


def test_a_quantity_changed(workspace: Workspace) -> None:
    workspace.replace("workflow/perigee/claims/theory.py", "if len(norm) < 2:", "if len(norm) < 3:")
    assert workspace.jobs("everything") == {"judge_claims periodic_fig4"} | GATHERED


def test_a_figure_with_other_runs_and_one_without_claims(workspace: Workspace) -> None:
    workspace.edit_paper(lambda study: study["figures"]["fig4"].pop("claims"))
    workspace.set_learning_rates(0.03, 0.3, 3)
    drawn = {JUDGE_FIG3} | GATHERED | figure_jobs("fig3")
    assert workspace.jobs("everything") == drawn
    workspace.make("claims")
    claims = claims_of(workspace)
    assert "fig4" not in set(claims["figure"])
    fig3 = claims.query("figure == 'fig3'")
    missing = fig3["estimate"] == "no rows with optimiser.learning_rate 0.1"
    assert missing.sum() == 8, "what the claims say of learning rate 0.1 has no run any more"
    assert set(fig3.loc[missing, "verdict"]) == {"not testable at this scale"}


def test_claims_are_not_judged_on_a_table_that_is_not_there(
    finished: Workspace, tmp_path: Path
) -> None:
    """The program, run by hand, refuses in a sentence."""
    (told,) = finished.root.glob("results/specs/claims/periodic_fig3-*.json")
    spec = json.loads(told.read_text())
    spec["tables"]["runs"] = "results/store/table/periodic_fig3-runs-0123456789abcdef"
    result = finished.by_hand(
        *("python", "-m", "perigee", "judge-claims"),
        *("--spec", json.dumps(spec), "--out", str(tmp_path / "claims")),
    )
    assert result.returncode == 1
    assert "is not a complete product" in result.stdout
    assert len(result.stdout.strip().splitlines()) == 1
    assert not (tmp_path / "claims").exists()

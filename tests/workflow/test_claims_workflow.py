"""Claims through the whole workflow: judged, gathered, printed, and judged anew when due."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from workspace import LEARNING_RATES, Workspace, sweep_of

Prepare = Callable[[Workspace], None]

COLUMNS = "paper,figure,claim,quantity,expected,measured,seeds,verdict,source"
GATHERED = {"gather_claims", "write_pages"}


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
    for (paper, figure), rows in claims.groupby(["paper", "figure"]):
        computed = f"{paper}_{figure}" in ("periodic_fig2", "regimes_fig2")
        expected = {"reproduced"} if computed else {"not testable at this scale"}
        assert set(rows["verdict"]) == expected
    assert set(claims["figure"]) == {"fig2", "fig3", "fig4", "fig6", "appF1"}
    assert claims["source"].str.contains("NeurIPS 202").all()
    assert claims["source"].str.contains("Section").all()
    # One number against the table it is measured on: the highest rate's loss, late in training.
    stuck = claims[claims["claim"].str.contains("stuck") & (claims["figure"] == "fig3")]
    plotted = pd.read_csv(finished.root / "results/smoke/figures/periodic_fig3.csv")
    losses = plotted.loc[plotted["optimiser.learning_rate"] == 3, "train_loss"].to_numpy()
    assert stuck["measured"].tolist() == [f"{sorted(losses[-3:])[1]:.4g}"]


def test_the_target_prints_the_table(workspace: Workspace) -> None:
    result = workspace.snakemake("claims")
    assert result.returncode == 0, result.stdout
    printed = " ".join(re.sub(r"[│┃]", " ", result.stdout).split())
    for row in claims_of(workspace).itertuples():
        assert " ".join(row.claim.split()[:5]) in printed
    # Judged at smoke scale is what formulas say: two claims of the first paper, eight of another.
    others = len(claims_of(workspace)) - 10
    assert f"10 reproduced, {others} not testable at this scale" in printed


def test_verdicts_are_in_colour_in_a_terminal(finished: Workspace) -> None:
    show = ("python", "workflow/scripts/show_claims.py", "--claims", "results/smoke/claims.csv")
    result = finished.by_hand(*show, FORCE_COLOR="1", TERM="xterm-256color")
    assert re.search(r"\x1b\[32mreproduced", result.stdout), result.stdout
    assert re.search(r"\x1b\[33mnot testable", result.stdout)
    assert "\x1b[" not in finished.by_hand(*show).stdout


def test_nothing_changed(workspace: Workspace, prepare: Prepare) -> None:
    prepare(workspace)
    assert workspace.jobs("everything") == set()


def test_a_claim_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.edit_study(set_bound)
    prepare(workspace)
    assert workspace.jobs("everything") == {"judge_claims periodic_fig3"} | GATHERED
    assert workspace.jobs("results/smoke/claims.csv") == {
        "judge_claims periodic_fig3",
        "gather_claims",
    }
    assert workspace.jobs("all_figures") == set()


def test_a_claim_changed_and_restored(workspace: Workspace, prepare: Prepare) -> None:
    study = workspace.root / "config/studies/periodic.yaml"
    csv = workspace.root / "results/smoke/claims.csv"
    before, first = study.read_text(), csv.read_bytes()
    workspace.edit_study(set_bound)
    workspace.make("everything")
    assert csv.read_bytes() != first
    study.write_text(before)
    prepare(workspace)
    assert workspace.jobs("everything") == GATHERED
    workspace.make("everything")
    assert csv.read_bytes() == first


def test_a_quantity_changed(workspace: Workspace, prepare: Prepare) -> None:
    workspace.replace("workflow/perigee/claims/phases.py", "np.linspace(0, 1,", "np.linspace(0, 2,")
    prepare(workspace)
    assert workspace.jobs("everything") == {"judge_claims periodic_fig4"} | GATHERED


def test_a_learning_rate_changed(workspace: Workspace, prepare: Prepare) -> None:
    def edit(study: dict[str, Any]) -> None:
        sweep_of(study)["sweep"]["optimiser.learning_rate"]["smoke"] = [0.03, 0.2, 0.3, 3]

    workspace.edit_study(edit)
    prepare(workspace)
    assert workspace.jobs("everything") == {
        "train_run convnet-digits-lr0.2-wd0.01-seed0/e4",
        "make_table periodic_fig3-runs",
        "draw_figure periodic_fig3",
        "publish_figure periodic_fig3",
        "judge_claims periodic_fig3",
        *GATHERED,
    }
    workspace.make("everything")
    fig3 = claims_of(workspace).query("figure == 'fig3'")
    missing = fig3["measured"] == "no run with learning rate 0.1"
    assert missing.sum() == 6, "what the claims say of learning rate 0.1 has no run any more"
    assert set(fig3.loc[missing, "verdict"]) == {"not testable at this scale"}


def test_an_edited_table_of_claims_is_put_right(workspace: Workspace, prepare: Prepare) -> None:
    csv = workspace.root / "results/smoke/claims.csv"
    first = csv.read_bytes()
    csv.write_bytes(first.replace(b"not testable at this scale", b"reproduced"))
    prepare(workspace)
    assert workspace.jobs("claims") >= {"gather_claims"}
    workspace.make("claims")
    assert csv.read_bytes() == first


def test_a_figure_without_claims_needs_none(workspace: Workspace) -> None:
    def edit(study: dict[str, Any]) -> None:
        del study["figures"]["fig3"]["claims"]

    workspace.edit_study(edit)
    workspace.make("claims")
    assert "fig3" not in set(claims_of(workspace)["figure"])


def test_claims_of_a_figure_without_runs_are_refused_in_a_sentence(
    workspace: Workspace, tmp_path: Path
) -> None:
    """By hand, before the runs and with them the table are there."""
    shown = re.search(
        r"judge_claims\.py --spec '(\{.*?\})' --out \S*periodic_fig3", log_of(workspace)
    )
    assert shown
    spec = json.loads(shown[1])
    spec["tables"]["runs"] = "results/store/table/periodic_fig3-runs-0123456789abcdef"
    result = workspace.by_hand(
        *("python", "workflow/scripts/judge_claims.py"),
        *("--spec", json.dumps(spec), "--out", str(tmp_path / "claims")),
    )
    assert result.returncode == 1
    assert "is no complete product" in result.stdout
    assert len(result.stdout.strip().splitlines()) == 1
    assert not (tmp_path / "claims").exists()


def log_of(workspace: Workspace) -> str:
    logs = sorted((workspace.root / ".snakemake/log").glob("*.log"))
    return "\n".join(path.read_text() for path in logs)


def test_the_learning_rates_are_those_of_the_study(finished: Workspace) -> None:
    """So that the tests above speak of runs that there are."""
    plotted = pd.read_csv(finished.root / "results/smoke/figures/periodic_fig3.csv")
    assert set(plotted["optimiser.learning_rate"]) == set(LEARNING_RATES)

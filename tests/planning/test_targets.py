"""A target that does not exist is answered with what was probably meant."""

from __future__ import annotations

import pytest

from perigee.planning.targets import not_a_target, targets_beside

NAMED = ("everything", "all_figures", "periodic", "periodic_fig3", "study_label_smoothing")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("periodic_fg3", ["not a target", "did you mean 'periodic_fig3'"]),
        ("clams", ["not a target", "did you mean 'claims'"]),
        ("other_fig1", ["not a target", "known are all_figures, calibrate, claims"]),
        ("study_label_smothing", ["label_smothing.yaml", "did you mean 'label_smoothing'"]),
        ("study_mine", ["needs a file config/studies/mine.yaml", "known are label_smoothing"]),
        ("regimes_fig2", ["paper 'regimes'", "'papers' of config/config.yaml", "add it there"]),
        ("regimes", ["paper 'regimes'", "add it there"]),
    ],
)
def test_what_was_meant_is_told(name: str, told: list[str]) -> None:
    sentence = not_a_target(name, NAMED, ["periodic"])
    assert name in sentence
    for part in told:
        assert part in sentence, sentence


def test_a_figure_that_its_paper_lacks() -> None:
    sentence = not_a_target("periodic_fig99", NAMED, ["periodic"])
    assert sentence.startswith("'periodic_fig99' is not a target; ")


def test_figures_and_papers_may_stand_beside_those_that_plan() -> None:
    assert targets_beside({"plan"}, NAMED) == ["everything"]
    assert targets_beside({"calibrate", "periodic"}, NAMED) == ["periodic"]
    assert targets_beside({"plan", "calibrate", "periodic"}, NAMED) == ["periodic"]
    for asked in ("plan", "calibrate"):
        with pytest.raises(SystemExit, match=f"Error: '{asked}' cannot {asked} 'data'"):
            targets_beside({asked, "periodic", "data"}, NAMED)

"""The front door: `snakemake all_figures`, `snakemake periodic_fig3`; see README.md."""

from snakemake.utils import min_version

min_version("9.19")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/plan.smk"


report: "workflow/report/workflow.rst"


rule everything:
    default_target: True
    input:
        lambda w: [] if is_planning() else layout.everything(),


rule all_figures:
    input:
        published("all_figures"),

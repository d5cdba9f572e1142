"""The plan: what would be trained, and what it would cost.

In: the configuration and the provenance of finished runs. Out: a table in the terminal and in the
log, of all figures or of those named beside `plan`; nothing is made. A target that does not exist is
answered with a sentence.
"""


localrules:
    plan,


rule plan:
    log:
        f"{LOGS}/plan.log",
    conda:
        CONDA
    params:
        options=PLAN_OPTIONS,
        figures=lambda w: figures_to_plan(),
    message:
        "What would be trained, and what it would cost"
    shell:
        "python -m perigee plan {params.figures} {params.options} 2>&1 | tee {log:q}"


rule unknown_target:
    input:
        lambda w: sys.exit(
            f"Error: {not_a_target(w.target, layout.named, settings['papers'])}."
        ),
    output:
        "{target}",  # no rule makes a file in the project's own folder
    wildcard_constraints:
        target="[A-Za-z0-9_-]+",

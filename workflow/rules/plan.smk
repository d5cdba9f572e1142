"""The plan: what would be trained, and what it would cost.

In: the configuration and the provenance of finished runs. Out: a table in the terminal and in the
log, of all figures or of those named beside `plan`; nothing is made.
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
        figures=lambda w: [f"--figure={key}" for key in figures_to_plan()],
    message:
        "What would be trained, and what it would cost"
    shell:
        "python -m perigee plan {params.options} {params.figures} 2>&1 | tee {log:q}"

"""The plan: what would be trained, and what it would cost.

In: the configuration and the provenance of finished runs. Out: a table in the terminal and in the
log; nothing is made.
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
    message:
        "What would be trained, and what it would cost"
    shell:
        "python workflow/scripts/show_plan.py {params.options} 2>&1 | tee {log:q}"

"""Report.

In: published figures, claims, and the provenance of all products. Out: results/<scale>/index.html,
every figure with its verdicts, on which the report opens; results/<scale>/pages/*.html, which stand
in it beside the figures; and results/<scale>/report.html, one file with everything.
"""

import json


localrules:
    write_pages,
    report,


rule write_pages:
    input:
        lambda w: layout.pages_inputs(),
    output:
        report(
            layout.pages[0],
            category="Figures and verdicts",
            labels={"page": "figures", "scale": plan.scale},
        ),
        report(
            layout.pages[1],
            category="Figures and verdicts",
            labels={"page": "claims", "scale": plan.scale},
        ),
        report(
            layout.pages[2],
            category="Figures and verdicts",
            labels={"page": "provenance", "scale": plan.scale},
        ),
    log:
        f"{LOGS}/write_pages/{plan.scale}.log",
    conda:
        CONDA
    params:
        options=PLAN_OPTIONS,
        figures=[f"--figure={key}" for key in layout.reported.figures],
        claims=layout.claims_csv,
        out=subpath(output[0], parent=True),
    message:
        "write_pages"
    shell:
        "python -m perigee write-pages {params.options} {params.figures} --claims {params.claims:q}"
        " --out {params.out:q} --log {log:q}"


rule report:
    input:
        layout.everything(),
    log:
        f"{LOGS}/report/{plan.scale}.log",
    conda:
        CONDA
    params:
        # This Python's, since the programs' own environments need none.
        snakemake=shlex.join(
            [sys.executable, "-m", "snakemake", "--snakefile", workflow.main_snakefile]
        ),
        settings=lambda w: [
            f"{key}={json.dumps(value)}"
            for key, value in settings.items()
            if value is not None
        ],
        report=layout.report,
    message:
        "report {params.report}"
    shell:
        "{params.snakemake} everything --nolock --report {params.report:q} --config {params.settings:q}"
        " > {log:q} 2>&1 && echo 'The report is {params.report}.'"

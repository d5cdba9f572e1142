"""Calibration: what a step of each kind of run costs on the device that runs get.

In: the data sets of the runs still to be trained, of all figures or of those named beside
`calibrate`. Out: results/records/calibrations.json, which plan and time limits read from then on;
and the plan, in the terminal and in the log.
"""

from perigee.planning.kinds import calibration_inputs, calibration_receipt


localrules:
    calibrate,


rule calibrate_runs:
    input:
        lambda w: calibration_inputs(layout, asked_beside()),
    output:
        touch(f"{RECEIPTS}/{{told}}.{{n}}"),
    log:
        f"{LOGS}/calibrate_runs/{{told}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/calibrate_runs/{{told}}.{{n}}.tsv"
    wildcard_constraints:
        told=r"calibrate\.[0-9a-f]+",
    retries: 0  # what failed would fail again, and the others be measured again
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1200,
        runtime=min(120, settings["longest_run_minutes"]),
    params:
        spec=lambda w: f"{layout.specs}/{w.told}.json",
        out=layout.calibrations,
        device=settings["device"],
        workers=settings["workers"],
        capture=settings["capture"],
        channels_last=settings["channels_last"],
    message:
        "calibrate_runs"
    shell:
        "python -m perigee calibrate --spec {params.spec:q} --out {params.out:q}"
        " --device {params.device} --capture {params.capture} --channels-last {params.channels_last}"
        " --workers {params.workers} --log {log:q}"


rule calibrate:
    input:
        lambda w: calibration_receipt(layout, asked_beside()),
    log:
        f"{LOGS}/calibrate.log",
    conda:
        CONDA
    params:
        options=PLAN_OPTIONS,
        figures=lambda w: figures_to_plan(),
    message:
        "What would be trained, and what it would cost by what was measured"
    shell:
        "python -m perigee plan {params.figures} {params.options} 2>&1 | tee {log:q}"

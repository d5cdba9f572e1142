"""Evaluations of checkpoints.

In: a run that keeps checkpoints. Out: results/store/evaluation/<evaluation>-<run>-<digest>/, computed
once for all tables: of `predictions` predictions.npy, labels.npy, predictions.json; and
provenance.json.
"""


rule evaluate_run:
    input:
        lambda w: layout.inputs("evaluation", w.name),
    output:
        touch(f"{RECEIPTS}/evaluation/{{name}}.{{n}}"),
    log:
        f"{LOGS}/evaluate_run/{{name}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_run/{{name}}.{{n}}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=2000,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        spec=lambda w: layout.spec("evaluation", w.name),
        digest=lambda w: layout.product("evaluation", w.name).identity.digest,
        out=lambda w: layout.out("evaluation", w.name),
        device=settings["device"],
        channels_last=settings["channels_last"],
        runs_per_gpu=settings["runs_per_gpu"],
        progress_interval=settings["progress_interval"],
    message:
        "evaluate_run {wildcards.name}"
    shell:
        "python -m perigee evaluate --spec {params.spec:q} --out {params.out:q}"
        " --device {params.device} --channels-last {params.channels_last}"
        " --runs-per-gpu {params.runs_per_gpu}"
        " --progress-interval {params.progress_interval} --digest {params.digest} --log {log:q}"

"""Training runs.

In: a data set, and of a fork its parent. Out: results/store/run/<name>-<digest>/e<epochs>/ with
losses.npy, weights.npy, state.safetensors and provenance.json; below it a folder for every measure,
<measure>-<digest>/ with rows.npy and provenance.json.
"""


rule train_run:
    input:
        lambda w: layout.inputs("run", w.version),
    output:
        touch(f"{RECEIPTS}/run/{{version}}.{{n}}"),
    log:
        f"{LOGS}/train_run/{{version}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/train_run/{{version}}.{{n}}.tsv"
    group:
        lambda w: (
            layout.group(w.version, settings["short_run_steps"])
            if settings["processes_per_run"] == 1
            else None
        )
    conda:
        CONDA
    threads: settings["processes_per_run"]
    resources:
        mem_mb=1200 * settings["processes_per_run"],
        runtime=lambda w, attempt: layout.run_minutes(
            w.version,
            attempt,
            unknown=settings["unknown_run_minutes"],
            longest=settings["longest_run_minutes"],
        ),
    params:
        spec=lambda w: layout.spec("run", w.version),
        digest=lambda w: layout.run(w.version).identity.digest,
        out=lambda w: layout.out("run", w.version),
        device=settings["device"],
        runs_per_gpu=settings["runs_per_gpu"],
        processes=(
            f"--processes {settings['processes_per_run']}"
            if settings["processes_per_run"] > 1
            else ""
        ),
        progress_interval=settings["progress_interval"],
        save_interval=settings["save_interval"],
        workers=settings["workers"],
        on_departure=settings["on_departure"],
    message:
        "train_run {wildcards.version}"
    shell:
        "python -m perigee train --spec {params.spec:q} --out {params.out:q}"
        " --device {params.device} --runs-per-gpu {params.runs_per_gpu} {params.processes}"
        " --progress-interval {params.progress_interval} --save-interval {params.save_interval}"
        " --workers {params.workers} --on-departure {params.on_departure} --digest {params.digest} --log {log:q}"

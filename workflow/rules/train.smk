"""Training runs.

In: a data set, and of a fork its parent. Out: results/store/run/<name>-<digest>/e<epochs>/ with
losses.npy, weights.npy, state.safetensors and provenance.json; below it a folder for every measure,
<measure>-<digest>/ with rows.npy and provenance.json.
"""

PROCESSES, NODES = settings["processes_per_run"], settings["nodes_per_run"]

# Of tasks SLURM's plugin would otherwise ask for so many per GPU.
ON_NODES = {"nodes": NODES, "tasks": NODES, "tasks_per_gpu": 0} if NODES > 1 else {}


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
            if PROCESSES == 1
            else None
        )
    conda:
        CONDA
    threads: PROCESSES // NODES
    resources:
        **ON_NODES,
        mem_mb=1200 * PROCESSES // NODES,
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
        capture=settings["capture"],
        channels_last=settings["channels_last"],
        runs_per_gpu=settings["runs_per_gpu"],
        processes=f"--processes {PROCESSES} --nodes {NODES}" if PROCESSES > 1 else "",
        progress_interval=settings["progress_interval"],
        save_interval=settings["save_interval"],
        workers=settings["workers"],
        stage=settings["stage_images"] or "",
        on_departure=settings["on_departure"],
    message:
        "train_run {wildcards.version}"
    shell:
        "python -m perigee train --spec {params.spec:q} --out {params.out:q}"
        " --device {params.device} --capture {params.capture} --channels-last {params.channels_last}"
        " --runs-per-gpu {params.runs_per_gpu} {params.processes}"
        " --progress-interval {params.progress_interval} --save-interval {params.save_interval}"
        " --workers {params.workers} --stage-images={params.stage:q} --on-departure {params.on_departure} --digest {params.digest} --log {log:q}"

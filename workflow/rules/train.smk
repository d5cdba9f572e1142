"""Training runs.

In: a data set. Out: results/store/run/<name>-<digest>/e<epochs>/ with metrics.parquet,
steps.parquet, provenance.json and, where the run was trained and not read off another version,
state.safetensors; of runs that others fork from, or whose checkpoints a table reads, in
e<epochs>-every<K>/, with the checkpoint of every K-th epoch.
"""


# Copies the first rows of two tables.
localrules:
    read_off_run,


rule train_run:
    input:
        lambda w: layout.run_inputs(w.version),
    output:
        layout.files("run/{version}", TRAINED_RUN_FILES),
    log:
        f"{LOGS}/train_run/{{version}}.log",
    benchmark:
        f"{BENCHMARKS}/train_run/{{version}}.tsv"
    group:
        lambda w: layout.group(w.version, settings["short_run_steps"])
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1200,
        runtime=lambda w, attempt: layout.run_minutes(
            w.version,
            attempt,
            unknown=settings["unknown_run_minutes"],
            longest=settings["longest_run_minutes"],
        ),
    params:
        spec=lambda w: layout.run_spec(w.version),
        digest=lambda w: layout.identity("run", w.version).digest,
        epochs=lambda w: layout.run(w.version).epochs,
        dataset=lambda w: layout.run_dataset(w.version),
        out=subpath(output[0], parent=True),
        device=settings["device"],
        runs_per_gpu=settings["runs_per_gpu"],
        progress_interval=settings["progress_interval"],
        save_interval=settings["save_interval"],
        options=lambda w: layout.run_options(w.version),
    message:
        "train_run {wildcards.version}"
    shell:
        "python workflow/scripts/train.py --spec {params.spec:q} --dataset {params.dataset:q}"
        " --epochs {params.epochs} --out {params.out:q} --device {params.device}"
        " --runs-per-gpu {params.runs_per_gpu}"
        " --progress-interval {params.progress_interval} --save-interval {params.save_interval}"
        " {params.options} --digest {params.digest} --log {log:q}"


# A version that keeps checkpoints.
use rule train_run as train_run_with_checkpoints with:
    output:
        layout.files("run/{version}", TRAINED_KEEPING_RUN_FILES),
    wildcard_constraints:
        version=KEEPING_VERSION,


ruleorder: read_off_run > train_run
ruleorder: read_off_run_with_checkpoints > train_run_with_checkpoints


rule read_off_run:
    input:
        lambda w: layout.reading_off_inputs(w.version),
    output:
        layout.files("run/{version}", RUN_FILES),
    log:
        f"{LOGS}/read_off_run/{{version}}.log",
    benchmark:
        f"{BENCHMARKS}/read_off_run/{{version}}.tsv"
    wildcard_constraints:
        version=layout.to_read_off(keeping=False),
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        epochs=lambda w: layout.run(w.version).epochs,
        longer=lambda w: layout.longer_run(w.version),
        out=subpath(output[0], parent=True),
        options=lambda w: layout.checkpoint_option(w.version),
    message:
        "read_off_run {wildcards.version}"
    shell:
        "python workflow/scripts/read_off_run.py --longer {params.longer:q}"
        " --epochs {params.epochs} {params.options} --out {params.out:q} --log {log:q}"


# A version that keeps checkpoints.
use rule read_off_run as read_off_run_with_checkpoints with:
    output:
        layout.files("run/{version}", KEEPING_RUN_FILES),
    wildcard_constraints:
        version=layout.to_read_off(keeping=True),

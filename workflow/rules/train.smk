"""Training runs.

In: a data set. Out: results/store/run/<name>-<digest>/e<epochs>/ with metrics.parquet,
steps.parquet, provenance.json and, where the run was trained and not read off a longer version,
state.safetensors.
"""


def planned_run(wildcards):
    return plan.runs[f"run/{wildcards.version}"]


def run_outputs(wildcards):
    return stored(f"run/{wildcards.version}", *TABLES)


def dataset_of(wildcards):
    folder = planned_run(wildcards).dataset.identity.folder
    return unless_made(run_outputs(wildcards), stored(folder, "data.safetensors"))


def longer_run(wildcards):
    longer = stored(READ_OFF[f"run/{wildcards.version}"], *TABLES)
    return unless_made(run_outputs(wildcards), longer)


rule train_run:
    input:
        dataset_of,
    output:
        stored("run/{version}", *TABLES, "state.safetensors"),
    params:
        spec=lambda wildcards: canonical_json(planned_run(wildcards).spec.to_dict()),
        digest=lambda wildcards: planned_run(wildcards).identity.digest,
        epochs=lambda wildcards: planned_run(wildcards).epochs,
        dataset=lambda wildcards: f"{STORE}/{planned_run(wildcards).dataset.identity.folder}",
        out=subpath(output[0], parent=True),
        device=settings["device"],
        progress_interval=settings["progress_interval"],
    log:
        f"{LOGS}/train_run/{{version}}.log",
    benchmark:
        f"{BENCHMARKS}/train_run/{{version}}.tsv"
    message:
        "train_run {wildcards.version}"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=1200,
        runtime=720,
    shell:
        "python workflow/scripts/train_run.py --spec {params.spec:q} --dataset {params.dataset:q}"
        " --epochs {params.epochs} --out {params.out:q} --device {params.device}"
        " --progress-interval {params.progress_interval} --digest {params.digest} --log {log:q}"


if READ_OFF:

    ruleorder: read_off_run > train_run

    rule read_off_run:
        input:
            longer_run,
        output:
            stored("run/{version}", *TABLES),
        wildcard_constraints:
            version="|".join(folder.removeprefix("run/") for folder in READ_OFF),
        params:
            epochs=lambda wildcards: planned_run(wildcards).epochs,
            longer=lambda wildcards: f"{STORE}/{READ_OFF[f'run/{wildcards.version}']}",
            out=subpath(output[0], parent=True),
        log:
            f"{LOGS}/read_off_run/{{version}}.log",
        benchmark:
            f"{BENCHMARKS}/read_off_run/{{version}}.tsv"
        message:
            "read_off_run {wildcards.version}"
        conda:
            CONDA
        resources:
            mem_mb=2000,
            runtime=20,
        shell:
            "python workflow/scripts/read_off_run.py --longer {params.longer:q}"
            " --epochs {params.epochs} --out {params.out:q} --log {log:q}"

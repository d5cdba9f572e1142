"""Tables, and the predictions that some of them read.

In: runs, or nothing where a table is computed from a formula. Out:
results/store/table/<figure>-<table>-<digest>/ with table.parquet and provenance.json; and
results/store/predictions/<run>-<digest>/ with predictions.npy, labels.npy, predictions.json and
provenance.json, of runs that keep checkpoints, computed once for all tables.
"""


rule predict_run:
    input:
        lambda w: layout.predictions_inputs(w.name),
    output:
        layout.files("predictions/{name}", PREDICTIONS_FILES),
    log:
        f"{LOGS}/predict_run/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/predict_run/{{name}}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=2000,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        run=lambda w: layout.predictions_run(w.name),
        dataset=lambda w: layout.predictions_dataset(w.name),
        digest=lambda w: layout.identity("predictions", w.name).digest,
        out=subpath(output[0], parent=True),
        device=settings["device"],
        runs_per_gpu=settings["runs_per_gpu"],
        progress_interval=settings["progress_interval"],
    message:
        "predict_run {wildcards.name}"
    shell:
        "python workflow/scripts/predict.py --run {params.run:q} --dataset {params.dataset:q}"
        " --out {params.out:q} --device {params.device} --runs-per-gpu {params.runs_per_gpu}"
        " --progress-interval {params.progress_interval} --digest {params.digest} --log {log:q}"


rule make_table:
    input:
        lambda w: layout.table_inputs(w.name),
    output:
        layout.files("table/{name}", TABLE_FILES),
    log:
        f"{LOGS}/make_table/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/make_table/{{name}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        spec=lambda w: layout.table_spec(w.name),
        digest=lambda w: layout.identity("table", w.name).digest,
        out=subpath(output[0], parent=True),
    message:
        "make_table {wildcards.name}"
    shell:
        "python workflow/scripts/make_table.py --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"

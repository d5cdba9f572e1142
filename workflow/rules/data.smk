"""Data sets.

In: installed packages or the folder `data`, to which `download` adds what is missing. Out:
results/store/dataset/<name>-<digest>/ with data.safetensors and provenance.json.
"""


# Compute nodes often have no network.
localrules:
    build_dataset,


rule data:
    input:
        layout.all_datasets(),


rule build_dataset:
    output:
        layout.files("dataset/{name}", DATASET_FILES),
    log:
        f"{LOGS}/build_dataset/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/build_dataset/{{name}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=lambda w: layout.dataset_spec(w.name),
        digest=lambda w: layout.identity("dataset", w.name).digest,
        out=subpath(output[0], parent=True),
        downloads=settings["data"],
        download="--download" if settings["download"] else "--no-download",
    message:
        "build_dataset {wildcards.name}"
    shell:
        "python workflow/scripts/build_dataset.py --spec {params.spec:q} --out {params.out:q}"
        " --downloads {params.downloads:q} {params.download} --digest {params.digest} --log {log:q}"

"""Data sets.

In: installed packages or the folder `data`. Out: results/store/dataset/<name>-<digest>/ with
data.safetensors and provenance.json.
"""


def planned_dataset(wildcards):
    return plan.datasets[f"dataset/{wildcards.name}"]


rule data:
    input:
        [stored(folder, "data.safetensors") for folder in plan.datasets],


rule build_dataset:
    output:
        stored("dataset/{name}", "data.safetensors"),
    params:
        spec=lambda wildcards: canonical_json(
            planned_dataset(wildcards).dataset.to_dict()
        ),
        digest=lambda wildcards: planned_dataset(wildcards).identity.digest,
        out=subpath(output[0], parent=True),
        downloads=settings["data"],
    log:
        f"{LOGS}/build_dataset/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/build_dataset/{{name}}.tsv"
    message:
        "build_dataset {wildcards.name}"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "python workflow/scripts/build_dataset.py --spec {params.spec:q} --out {params.out:q}"
        " --downloads {params.downloads:q} --digest {params.digest} --log {log:q}"

"""Data sets.

In: installed packages or the folder `data`, to which `download` adds what is missing. Out:
results/store/dataset/<name>-<digest>/ with manifest.json, the arrays or listings of files, and
provenance.json.
"""


# Compute nodes often have no network.
localrules:
    build_dataset,


rule data:
    input:
        published(
            "everything",
            lambda: layout.receipts_of(layout.reported.datasets.values()),
        ),


rule build_dataset:
    input:
        lambda w: layout.inputs("dataset", w.name),
    output:
        touch(f"{RECEIPTS}/dataset/{{name}}.{{n}}"),
    log:
        f"{LOGS}/build_dataset/{{name}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/build_dataset/{{name}}.{{n}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=lambda w: layout.spec("dataset", w.name),
        contents="--contents" if settings["hash_images"] else "",
        digest=lambda w: layout.product("dataset", w.name).identity.digest,
        out=lambda w: layout.out("dataset", w.name),
        downloads=settings["data"],
        download="--download" if settings["download"] else "--no-download",
        mirror=(
            f"--mirror {shlex.quote(settings['mirror'])}" if settings["mirror"] else ""
        ),
    message:
        "build_dataset {wildcards.name}"
    shell:
        "python -m perigee build-dataset --spec {params.spec:q} --out {params.out:q}"
        " --downloads {params.downloads:q} {params.download} {params.mirror} {params.contents} --digest {params.digest} --log {log:q}"

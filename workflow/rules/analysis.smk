"""Tables.

In: runs with their measures, and evaluations of their checkpoints, or nothing where a table is
computed from a formula. Out: results/store/table/<figure>-<table>-<digest>/ with table.parquet and
provenance.json.
"""


rule make_table:
    input:
        lambda w: layout.inputs("table", w.name),
    output:
        touch(f"{RECEIPTS}/table/{{name}}.{{n}}"),
    log:
        f"{LOGS}/make_table/{{name}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/make_table/{{name}}.{{n}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        spec=lambda w: layout.spec("table", w.name),
        digest=lambda w: layout.product("table", w.name).identity.digest,
        out=lambda w: layout.out("table", w.name),
    message:
        "make_table {wildcards.name}"
    shell:
        "python -m perigee make-table --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"

"""Tables.

In: runs, or nothing where a table is computed from a formula. Out:
results/store/table/<figure>-<table>-<digest>/ with table.parquet and provenance.json.
"""


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
        runtime=20,
    params:
        spec=lambda w: layout.table_spec(w.name),
        digest=lambda w: layout.identity("table", w.name).digest,
        out=subpath(output[0], parent=True),
    message:
        "make_table {wildcards.name}"
    shell:
        "python workflow/scripts/make_table.py --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"

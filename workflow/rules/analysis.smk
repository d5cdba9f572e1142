"""Tables.

In: runs, or nothing where a table is computed from a formula. Out:
results/store/table/<figure>-<table>-<digest>/ with table.parquet and provenance.json.
"""


def planned_table(wildcards):
    return plan.tables[f"table/{wildcards.name}"]


def runs_of(wildcards):
    runs = planned_table(wildcards).runs
    files = [path for run in runs for path in stored(run.folder, *TABLES)]
    return unless_made(stored(f"table/{wildcards.name}", "table.parquet"), files)


def table_spec(wildcards):
    table = planned_table(wildcards)
    runs = [
        {"folder": f"{STORE}/{run.folder}", "swept": dict(swept)}
        for run, swept in zip(table.runs, table.swept, strict=True)
    ]
    return canonical_json(
        {
            "name": table.identity.name,
            "analysis": table.analysis.to_dict(),
            "runs": runs,
        }
    )


rule make_table:
    input:
        runs_of,
    output:
        stored("table/{name}", "table.parquet"),
    params:
        spec=table_spec,
        digest=lambda wildcards: planned_table(wildcards).identity.digest,
        out=subpath(output[0], parent=True),
    log:
        f"{LOGS}/make_table/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/make_table/{{name}}.tsv"
    message:
        "make_table {wildcards.name}"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    shell:
        "python workflow/scripts/make_table.py --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"

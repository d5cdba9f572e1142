"""Figures.

In: tables. Out: results/store/figure/<key>-<digest>/ with figure.pdf, .png, .csv, .ipynb and
provenance.json; and copies of the current version as results/<scale>/figures/<key>.*
"""


localrules:
    publish_figure,


FIGURE_FILES = [f"figure.{suffix}" for suffix in SUFFIXES]


def figure_folder(wildcards):
    return plan.figures[wildcards.key].identity.folder


def version_to_publish(wildcards):
    """Nothing if it is published; else the version's files, and what has old copies replaced."""
    digest = plan.figures[wildcards.key].identity.digest
    if is_published(Path(PUBLISHED), wildcards.key, digest):
        return []
    return [*stored(figure_folder(wildcards), *FIGURE_FILES), outdated_notice()]


def planned_drawing(wildcards):
    folder = f"figure/{wildcards.name}"
    return next(f for f in plan.figures.values() if f.identity.folder == folder)


def tables_of(wildcards):
    tables = planned_drawing(wildcards).tables.values()
    files = [
        path
        for table in tables
        for path in stored(table.identity.folder, "table.parquet")
    ]
    return unless_made(stored(f"figure/{wildcards.name}", *FIGURE_FILES), files)


def figure_spec(wildcards):
    figure = planned_drawing(wildcards)
    tables = {n: f"{STORE}/{t.identity.folder}" for n, t in figure.tables.items()}
    return canonical_json(
        {"key": figure.request.key, "stamp": dict(figure.stamp), "tables": tables}
    )


rule draw_figure:
    input:
        tables_of,
    output:
        stored("figure/{name}", *FIGURE_FILES),
    params:
        spec=figure_spec,
        digest=lambda wildcards: planned_drawing(wildcards).identity.digest,
        out=subpath(output[0], parent=True),
    log:
        f"{LOGS}/draw_figure/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/draw_figure/{{name}}.tsv"
    message:
        "draw_figure {wildcards.name}"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    shell:
        "python workflow/scripts/draw_figure.py --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"


rule publish_figure:
    input:
        version_to_publish,
    output:
        [
            report(
                f"{PUBLISHED}/{{key}}.{suffix}",
                caption="../report/{key}.rst",
                category=lambda wildcards: plan.figures[wildcards.key].request.citation,
                labels=lambda wildcards: {
                    "figure": plan.figures[wildcards.key].request.title
                },
            )
            if suffix == "png"
            else f"{PUBLISHED}/{{key}}.{suffix}"
            for suffix in SUFFIXES
        ],
    params:
        figure=lambda wildcards: f"{STORE}/{figure_folder(wildcards)}",
        out=subpath(output[0], parent=True),
    log:
        f"{LOGS}/publish_figure/{{key}}.log",
    message:
        "publish_figure {wildcards.key}"
    conda:
        CONDA
    shell:
        "python workflow/scripts/publish_figure.py --figure {params.figure:q}"
        " --name {wildcards.key} --out {params.out:q} --log {log:q}"


for figure_key in plan.figures:

    rule:
        name:
            figure_key
        input:
            published([figure_key]),


for paper in settings["papers"]:

    rule:
        name:
            paper
        input:
            published(figure.request.key for figure in plan.paper(paper)),

"""Figures.

In: tables. Out: results/store/figure/<key>-<digest>/ with figure.pdf,
figure_paper_width.pdf, figure.png, .csv, .ipynb and provenance.json; and copies of the version that
the configuration asks for, as results/<scale>/figures/<key>.* and <key>_paper_width.pdf
"""


localrules:
    publish_figure,


rule draw_figure:
    input:
        lambda w: layout.inputs("figure", w.name),
    output:
        touch(f"{RECEIPTS}/figure/{{name}}.{{n}}"),
    log:
        f"{LOGS}/draw_figure/{{name}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/draw_figure/{{name}}.{{n}}.tsv"
    localrule: settings["draw_on_submit_node"]
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        spec=lambda w: layout.spec("figure", w.name),
        digest=lambda w: layout.product("figure", w.name).identity.digest,
        out=lambda w: layout.out("figure", w.name),
    message:
        "draw_figure {wildcards.name}"
    shell:
        "python -m perigee draw-figure --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"


rule publish_figure:
    input:
        lambda w: layout.publication_inputs(w.key),
    output:
        f"{layout.published_folder}/{{key}}.pdf",
        f"{layout.published_folder}/{{key}}_paper_width.pdf",
        report(
            f"{layout.published_folder}/{{key}}.png",
            caption="../report/figure.rst",
            category=lambda w: plan.figures[w.key].request.citation,
            labels=lambda w: {"figure": w.key, "scale": plan.scale},
        ),
        f"{layout.published_folder}/{{key}}.csv",
        f"{layout.published_folder}/{{key}}.ipynb",
    log:
        f"{LOGS}/publish_figure/{plan.scale}/{{key}}.log",
    conda:
        CONDA
    params:
        figure=lambda w: f"{layout.store}/{layout.plan.figures[w.key].folder}",
        out=subpath(output[0], parent=True),
        caption=lambda w: layout.caption(w.key),
    message:
        "publish_figure {wildcards.key}"
    shell:
        "python -m perigee publish-figure --figure {params.figure:q}"
        " --name {wildcards.key} --out {params.out:q} --log {log:q}"


for figure_key in plan.figures:

    rule:
        name:
            figure_key
        input:
            published(figure_key),


for paper in settings["papers"]:

    rule:
        name:
            paper
        input:
            published(paper),

"""Claims.

In: tables. Out: results/store/claims/<figure>-<digest>/ with claims.csv and provenance.json; and
results/<scale>/claims.csv, gathered from all figures. The target `claims` prints it.
"""


localrules:
    claims,
    gather_claims,
    judge_claims,


rule judge_claims:
    input:
        lambda w: layout.claims_inputs(w.name),
    output:
        layout.files("claims/{name}", CLAIMS_FILES),
    log:
        f"{LOGS}/judge_claims/{{name}}.log",
    benchmark:
        f"{BENCHMARKS}/judge_claims/{{name}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        spec=lambda w: layout.claims_spec(w.name),
        digest=lambda w: layout.identity("claims", w.name).digest,
        out=subpath(output[0], parent=True),
    message:
        "judge_claims {wildcards.name}"
    shell:
        "python workflow/scripts/judge_claims.py --spec {params.spec:q} --out {params.out:q}"
        " --digest {params.digest} --log {log:q}"


rule gather_claims:
    input:
        lambda w: layout.gathering_inputs(),
    output:
        layout.claims_csv,
    log:
        f"{LOGS}/gather_claims/{plan.scale}.log",
    conda:
        CONDA
    params:
        claims=[f"--claims={folder}" for folder in layout.claims_folders()],
        version=layout.claims_version(),
    message:
        "gather_claims"
    shell:
        "python workflow/scripts/gather_claims.py --out {output:q} --version {params.version}"
        " {params.claims:q} --log {log:q}"


rule claims:
    input:
        layout.claims_to_judge(),
        claims=layout.claims_csv,
    log:
        f"{LOGS}/claims/{plan.scale}.log",
    conda:
        CONDA
    message:
        "What the papers claim, and what came out"
    shell:
        "python workflow/scripts/show_claims.py --claims {input.claims:q} --copy {log:q}"

"""Claims.

In: tables. Out: results/store/claims/<figure>-<digest>/ with claims.csv and provenance.json; and
results/<scale>/claims.csv, gathered from all figures, with the wording of the claims. The target
`claims` prints it.
"""


localrules:
    claims,
    gather_claims,
    judge_claims,


rule judge_claims:
    input:
        lambda w: layout.inputs("claims", w.name),
    output:
        touch(f"{RECEIPTS}/claims/{{name}}.{{n}}"),
    log:
        f"{LOGS}/judge_claims/{{name}}.{{n}}.log",
    benchmark:
        f"{BENCHMARKS}/judge_claims/{{name}}.{{n}}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        spec=lambda w: layout.spec("claims", w.name),
        digest=lambda w: layout.product("claims", w.name).identity.digest,
        out=lambda w: layout.out("claims", w.name),
    message:
        "judge_claims {wildcards.name}"
    shell:
        "python -m perigee judge-claims --spec {params.spec:q} --out {params.out:q}"
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
        spec=lambda w: layout.claims_spec(),
        version=layout.claims_version(),
    message:
        "gather_claims"
    shell:
        "python -m perigee gather-claims --spec {params.spec:q} --out {output:q}"
        " --version {params.version} --log {log:q}"


rule claims:
    input:
        layout.claims_to_judge(),
        claims=layout.claims_csv,
    log:
        f"{LOGS}/claims/{plan.scale}.log",
    conda:
        CONDA
    message:
        "The papers' claims, and their verdicts"
    shell:
        "python -m perigee claims --claims {input.claims:q} --copy {log:q}"

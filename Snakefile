"""The front door: `snakemake all_figures`, `snakemake periodic_fig3`; see README.md."""


include: "workflow/Snakefile"


workflow.default_target = "everything"  # of what is included Snakemake takes none

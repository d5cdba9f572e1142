"""The front door: `snakemake all_figures`, `snakemake periodic_fig3`; see README.md."""


include: "workflow/Snakefile"

"""The subcommands of `perigee`: one module each, whose `main` has the options as its parameters."""

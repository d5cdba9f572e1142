"""Make the folder of a project of your own."""


def main() -> None:
    """Make the folder of a project of your own."""

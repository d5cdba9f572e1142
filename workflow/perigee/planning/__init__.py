"""The plan of a configuration: its products, which of them are still to be made, and the cost."""

"""The measures that can be taken while a run trains, one module each; none changes a weight."""

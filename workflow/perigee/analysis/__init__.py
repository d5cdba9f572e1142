"""Tables, one module each: from runs, or computed from a formula. Nothing here trains."""

"""Tables, one module each, made from runs or computed from a formula. Nothing here trains."""

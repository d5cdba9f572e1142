"""Update rules, one module each, on the flat vector of all trained parameters."""

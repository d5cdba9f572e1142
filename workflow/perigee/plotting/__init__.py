"""Drawing: one style for all figures. Reads tables, computes nothing that a claim rests on."""

"""The papers' formulas, one function each, named after the symbol or equation they compute."""

"""Claims: quantities measured on a figure's tables, and verdicts on what the paper says of it.

A quantity is a function of the rows of one seed (or of a whole table without seeds). It returns one
number, or NaN where there is nothing to measure, which is never taken for a failure.
"""

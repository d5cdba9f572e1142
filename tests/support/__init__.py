"""What tests share: independent computations to compare with, and builders of small runs."""

"""Networks of the paper's Table 1 and their complexity."""

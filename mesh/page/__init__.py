"""The HTML report: one self-contained page about one or several runs, for people who decide."""

"""A synthetic table beside a real one: likeness, exposure, findings in words, and the page."""

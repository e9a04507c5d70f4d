"""Frames and files: what columns are, their way to states and values and back, and what is wrong with them."""

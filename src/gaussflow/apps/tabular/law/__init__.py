"""Laws of columns given columns: states, values, trees, and the law of a whole table."""

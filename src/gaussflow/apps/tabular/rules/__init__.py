"""Rules between columns: as users state them, on codes, suggested from rows, and what they leave a column."""

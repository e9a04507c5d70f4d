"""Rows drawn and rows completed, under rules and conditions."""

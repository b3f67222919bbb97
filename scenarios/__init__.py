"""The scenarios: each file one story with its expectations."""

"""Commands that try more than a test run has time for."""

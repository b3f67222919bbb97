"""The recording of one run in one SQLite file: written here, read and verified here, shown elsewhere."""

"""The trace file's tables, declared once for writer, reader and verifier.

A message's bytes stand once, by digest; a transmission points to them. The columns beside the bytes are an
index: `verify` compares them with what the bytes say.
"""

from __future__ import annotations

from typing import Final

FORMAT: Final = 2
APPLICATION_ID: Final = 0x6D657368
"""`mesh` in ASCII, in the SQLite header: what tells a trace from other databases."""
PAGE_SIZE: Final = 8192
COMMIT_EVERY: Final = 1000
"""Transmissions between two commits; by count, so that equal runs are equal files."""

# An expectation's `held` is 1 if it held, 0 if it failed, 2 if it was not tried under the run's fault plan.
NOT_TRIED: Final = 2

SCHEMA: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epilogue(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE party(number INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
CREATE TABLE message(
  number INTEGER PRIMARY KEY, digest BLOB NOT NULL, kind TEXT NOT NULL, id TEXT, service TEXT, code TEXT,
  line BLOB NOT NULL);
CREATE TABLE transmission(
  number INTEGER PRIMARY KEY, sent_us INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
  sender INTEGER NOT NULL, recipient INTEGER NOT NULL, message INTEGER NOT NULL, permit INTEGER,
  fate TEXT NOT NULL, code TEXT, gate INTEGER);
CREATE TABLE ledger(
  number INTEGER PRIMARY KEY, party INTEGER NOT NULL, position INTEGER NOT NULL, row BLOB NOT NULL);
CREATE TABLE head(number INTEGER PRIMARY KEY, party INTEGER NOT NULL, token BLOB NOT NULL);
CREATE TABLE registry_entry(position INTEGER PRIMARY KEY, address TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE registry_head(version INTEGER PRIMARY KEY, token BLOB NOT NULL);
CREATE TABLE resident(
  handle TEXT NOT NULL, member TEXT NOT NULL, code TEXT NOT NULL, PRIMARY KEY(handle, member)) WITHOUT ROWID;
CREATE TABLE expectation(
  number INTEGER PRIMARY KEY, text TEXT NOT NULL, text_ja TEXT NOT NULL, held INTEGER NOT NULL, message TEXT,
  after INTEGER NOT NULL DEFAULT 0);
CREATE TABLE story(
  number INTEGER PRIMARY KEY, text TEXT NOT NULL, text_ja TEXT NOT NULL, messages TEXT NOT NULL);
CREATE TABLE sealing_key(address TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
"""
SEALING_KEY_SIZE: Final = 32
"""Bytes of one of the keys that `sealing_key.key` has of a node, one behind the other in the order of their time."""

_FORMAT_1: Final = """
CREATE TABLE transmission(
  number INTEGER PRIMARY KEY, sent_us INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
  sender INTEGER NOT NULL, recipient INTEGER NOT NULL, message INTEGER NOT NULL, permit INTEGER,
  fate TEXT NOT NULL, code TEXT);
CREATE TABLE expectation(
  number INTEGER PRIMARY KEY, text TEXT NOT NULL, text_ja TEXT NOT NULL, held INTEGER NOT NULL, message TEXT);
"""
"""The tables that were otherwise in the first format, which kept its story in the epilogue, and not how far a line came
at its gate."""

SCHEMAS: Final = (SCHEMA, _FORMAT_1)
"""The tables of every format there was, the newest first: a file that has others is no trace."""


def sealing_keys_in(raw: bytes) -> tuple[bytes, ...]:
    """The keys of one node; of a file that somebody altered any bytes may stand there, and what is no key opens nothing."""
    whole = not len(raw) % SEALING_KEY_SIZE
    return tuple(raw[at : at + SEALING_KEY_SIZE] for at in range(0, len(raw), SEALING_KEY_SIZE) if whole)

"""Which tests know which file of the core, the quickest first; and what no test can see of it, with the reason.

`tests/sweeps/core_mutants.py` breaks these files and runs these tests.
"""

from __future__ import annotations

from typing import Final

_GATES: Final = ("tests/test_gate_checks.py", "tests/test_core_corners.py")
_EXCHANGE: Final = (
    "tests/test_life_cycle_rows.py",
    "tests/test_kept_permits.py",
    "tests/test_permits.py",
    "tests/test_resent_lines.py",
    "tests/test_exchange_under_failure.py",
    "tests/test_codes.py",
    "tests/test_effects_under_failure.py",
    "tests/test_who_asks_hears.py",
    "tests/test_consents.py",
    "tests/test_sender_checks.py",
)
_PUSH: Final = (
    "tests/test_life_cycle_rows.py",
    "tests/test_kept_permits.py",
    "tests/test_permits.py",
    "tests/test_resent_lines.py",
    "tests/test_notices.py",
    "tests/test_pushes_under_failure.py",
    "tests/test_key_changes.py",
    "tests/test_dead_letters.py",
)
_BOTH: Final = tuple(dict.fromkeys((*_GATES, *_EXCHANGE, *_PUSH)))
_TRUST: Final = (
    "tests/unit/test_authority.py",
    "tests/test_certificates.py",
    "tests/test_key_changes.py",
    "tests/test_codes.py",
)
_VERIFY: Final = (
    "tests/test_verify_checks.py",
    "tests/unit/test_trace_verify.py",
    "tests/test_core_corners.py",
    "tests/test_lies_about_law.py",
    "tests/test_resent_lines.py",
    "tests/test_gates.py",
    "tests/test_dead_letters.py",
    "tests/test_evidence.py",
    "tests/test_ledger_columns.py::test_a_lie_about_any_column_of_any_row_is_found_or_named[muni/28100/tax]",
)


def _unit(name: str) -> str:
    return f"tests/unit/test_{name}.py"


TESTS: Final[dict[str, tuple[str, ...]]] = {
    "mesh/exchange.py": (*_GATES, "tests/test_life_cycles.py", *_BOTH),
    "mesh/gates.py": _BOTH,
    "mesh/party.py": _BOTH,
    "mesh/requester.py": (*_GATES, *_EXCHANGE),
    "mesh/provider.py": (*_GATES, *_EXCHANGE, "tests/test_private_app.py"),
    "mesh/subscriber.py": (*_GATES, *_PUSH),
    "mesh/publisher.py": (*_GATES, *_PUSH),
    "mesh/authoriser.py": (*_BOTH, "tests/test_private_app.py"),
    "mesh/routing.py": (*_GATES, *_EXCHANGE, *_PUSH),
    "mesh/post.py": (*_GATES, *_PUSH),
    "mesh/outbox.py": (_unit("outbox"), *_GATES, *_PUSH),
    "mesh/places.py": (_unit("outbox"), *_PUSH),
    "mesh/backoff.py": (_unit("outbox"), *_BOTH),
    "mesh/endpoint.py": _BOTH,
    "mesh/history.py": (*_GATES, "tests/test_access_history.py"),
    "mesh/outgoing.py": ("tests/test_sender_checks.py", *_GATES),
    "mesh/message.py": (_unit("message"), *_GATES, "tests/test_codes.py", "tests/test_bad_input.py"),
    "mesh/parsing.py": (_unit("parsing"), _unit("message"), "tests/test_codes.py"),
    "mesh/padding.py": (_unit("padding"), _unit("sealing")),
    "mesh/policy.py": (_unit("policy"), "tests/test_permits.py", *_GATES, "tests/test_codes.py", "tests/test_rules.py"),
    "mesh/registry.py": (_unit("registry"), *_TRUST),
    "mesh/view.py": (_unit("registry"), *_GATES, *_TRUST, "tests/test_exchange_under_failure.py"),
    "mesh/keys.py": (_unit("keys"), _unit("sealing"), *_TRUST),
    "mesh/jws.py": (_unit("jws"), *_GATES, "tests/test_codes.py"),
    "mesh/sealing.py": (_unit("sealing"), "tests/test_codes.py"),
    "mesh/channels.py": (_unit("sealing"), "tests/test_key_changes.py", *_GATES, "tests/test_codes.py", "tests/test_exchange_under_failure.py"),
    "mesh/consent.py": ("tests/test_consents.py", *_GATES, "tests/test_codes.py", "tests/test_private_app.py"),
    "mesh/consent_list.py": ("tests/test_consents.py", "tests/test_codes.py", "tests/test_private_app.py"),
    "mesh/linkage.py": (_unit("linkage"), "tests/test_codes.py"),
    "mesh/merkle.py": (_unit("merkle"), _unit("ledger"), _unit("registry")),
    "mesh/ledger.py": (_unit("ledger"), "tests/test_exchange_under_failure.py", *_VERIFY),
    "mesh/trace/recheck.py": _VERIFY,
    "mesh/trace/agreement.py": _VERIFY,
    "mesh/trace/claims.py": _VERIFY,
    "mesh/trace/ledgers.py": (_unit("trace_verify"), "tests/test_trace_interrupted.py", *_VERIFY),
    "mesh/trace/verify.py": _VERIFY,
    "mesh/trace/clocks.py": _VERIFY,
    "mesh/trace/marks.py": _VERIFY,
    "mesh/trace/persons.py": _VERIFY,
}  # fmt: skip
"""A file, or the id of one test, may stand twice: it is run once."""

UNSEEN: Final[dict[tuple[str, str, str], str]] = {}
"""(file, function, change) → why nobody can observe it."""

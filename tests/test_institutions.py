"""The code issuer, its relay, the commission and the portal: each in a small mesh under the nation's law."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from mesh import (
    Caller,
    LegalBasis,
    MeshError,
    Node,
    NotFound,
    PersonalService,
    Refused,
    Simulation,
    ZonePath,
    serves,
)
from mesh.authoriser import Authoriser
from mesh.builtin import (
    CONSENTS,
    HISTORY,
    LEDGER_HEAD,
    LEDGER_ROWS,
    ConsentsQuery,
    Empty,
    HeadQuery,
    HistoryLine,
    RowsQuery,
)
from mesh.consent import Consent, Difference, sign_consent, sign_difference
from mesh.faults import drop
from mesh.ledger import Row, read_row
from mesh.message import Request, encode
from mesh.names import BROKER, Zone, member_of
from mesh.testing import Forger, messages, simulation
from nodes.agency.code_issuer import (
    ACQUISITION,
    ISSUER,
    LINKAGE_CODE,
    LINKAGE_RESERVE,
    RESERVATION_US,
    SAME_PERSON,
    CodeIssuer,
    CodeQuery,
    ReserveQuery,
    SamePersonQuery,
)
from nodes.agency.commission import COMMISSION, OVERSIGHT, Commission
from nodes.agency.jlis import LINKAGE_ACQUIRE, RELAY, AcquireQuery, CodeRelay, acquire_code
from nodes.agency.reconciliation import Finding, Records, compare
from nodes.data.law import read_law
from nodes.portal.consent_file import ConsentState
from nodes.portal.consent_publisher import CONSENTS_PROCEDURE
from nodes.portal.inbox import HISTORY_PROCEDURE, PORTAL, PORTAL_LETTER, Letter, Portal

CITY = "muni/01208/resident"
ALLOWANCE = "muni/01208/child-allowance"
TAX = "muni/28100/tax"
FIRM = "firm/kitami-bank/app"
PERSON, OTHER = "12345678901", "12345678902"


class IncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Income(Struct, frozen=True):
    total_income_yen: int | UnsetType = UNSET
    tax_year: int | UnsetType = UNSET


INCOME = PersonalService("tax.income.v1", IncomeQuery, Income, title="Income", title_ja="所得")
LOAN = PersonalService("tax.loan.v1", IncomeQuery, Income, title="Income for a loan", title_ja="融資用の所得")


class Tax(Node):
    """A tax office that answers from a table, and counts."""

    schema = "CREATE TABLE income(code TEXT PRIMARY KEY, yen INTEGER NOT NULL)"
    delay_s = 0.0

    @serves(INCOME)
    async def income(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        await asyncio.sleep(self.delay_s)
        row = self.db.execute("SELECT yen FROM income WHERE code = ?", (person,)).fetchone()
        if row is None:
            raise NotFound
        return Income(total_income_yen=row["yen"], tax_year=query.year)

    @serves(LOAN)
    async def loan(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        return await self.income(query, caller, person)


@pytest.fixture
async def sim() -> Any:
    with simulation() as sim:
        read_law().enact(sim.policy)
        sim.add(CodeIssuer, ISSUER, codes=sim.codes)
        sim.add(CodeRelay, RELAY)
        sim.add(Commission, COMMISSION)
        sim.add(Portal, PORTAL)
        sim.add(Node, CITY)
        sim.add(Node, ALLOWANCE)
        sim.add(Tax, TAX)
        sim.add(Node, FIRM)
        tax = sim.node(TAX, Tax)
        with tax.effect():
            for resident_code, yen in ((PERSON, 100), (OTHER, 200)):
                code = sim.code("muni/28100", sim.resident(resident_code))
                tax.db.execute("INSERT INTO income VALUES (?, ?)", (code, yen))
        yield sim


async def ask_income(sim: Simulation, resident_code: str = PERSON) -> int:
    code = sim.code("muni/01208", sim.resident(resident_code))
    answer = await sim.node(ALLOWANCE).ask(
        TAX,
        INCOME,
        IncomeQuery(2025),
        subject=code,
        procedure="child-allowance",
        items=["total_income_yen", "tax_year"],
    )
    assert isinstance(answer.total_income_yen, int)
    return answer.total_income_yen


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


class TestCodes:
    async def test_a_body_gets_its_own_code_through_the_relay(self, sim: Simulation) -> None:
        code = await acquire_code(sim.node(CITY), PERSON)
        assert code == sim.code("muni/01208", sim.resident(PERSON))
        assert code != await acquire_code(sim.node(CITY), OTHER)

    async def test_the_relay_never_hears_a_code(self, sim: Simulation) -> None:
        code = await acquire_code(sim.node(CITY), PERSON)
        heard = [one.message for one in messages(sim) if one.recipient == RELAY]
        opened = [bytes(sim.node(RELAY).party.unseal(one.data, one, sim.now_us())) for one in heard]
        assert opened[0] == encode(AcquireQuery(PERSON))
        assert len(opened) == 2
        assert not any(code.encode() in one for one in opened)
        with refuses("no_legal_basis"):
            await sim.node(RELAY).ask(ISSUER, LINKAGE_CODE, CodeQuery(f"an-{0:032x}"), procedure=ACQUISITION)

    async def test_a_number_works_once_and_for_its_body_only(self, sim: Simulation) -> None:
        sim.add(Node, "muni/28100/resident")
        kitami, kobe = sim.node(CITY), sim.node("muni/28100/resident")
        number = (
            await kitami.ask(RELAY, LINKAGE_ACQUIRE, AcquireQuery(PERSON), procedure=ACQUISITION)
        ).number
        with refuses("not_found"):
            await kobe.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)
        await kitami.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)
        with refuses("not_found"):
            await kitami.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)
        assert sim.node(ISSUER).db.execute("SELECT count(*) FROM reservation").fetchone()[0] == 0

    async def test_a_number_lapses(self, sim: Simulation) -> None:
        city = sim.node(CITY)
        number = (await city.ask(RELAY, LINKAGE_ACQUIRE, AcquireQuery(PERSON), procedure=ACQUISITION)).number
        await sim.sleep(RESERVATION_US / 1_000_000 + 1)
        with refuses("not_found"):
            await city.ask(ISSUER, LINKAGE_CODE, CodeQuery(number), procedure=ACQUISITION)

    async def test_only_whom_the_law_names_may_reserve_or_compare(self, sim: Simulation) -> None:
        city = sim.node(CITY)
        with refuses("no_legal_basis"):
            await city.ask(ISSUER, LINKAGE_RESERVE, ReserveQuery(PERSON, "muni/01208"), procedure=ACQUISITION)
        codes = SamePersonQuery(
            *(sim.code(member, sim.resident(PERSON)) for member in ("muni/01208", "muni/28100"))
        )
        with refuses("no_legal_basis"):
            await city.ask(ISSUER, SAME_PERSON, codes, procedure=OVERSIGHT)
        assert (await sim.node(COMMISSION).ask(ISSUER, SAME_PERSON, codes, procedure=OVERSIGHT)).same

    async def test_other_persons_and_unissued_codes(self, sim: Simulation) -> None:
        first = sim.code("muni/01208", sim.resident(PERSON))
        other = sim.code("muni/28100", sim.resident(OTHER))
        commission = sim.node(COMMISSION)
        answer = await commission.ask(ISSUER, SAME_PERSON, SamePersonQuery(first, other), procedure=OVERSIGHT)
        assert not answer.same
        invented = "muni/28100:" + "A" * 43
        with refuses("linkage_code_unknown"):
            await commission.ask(ISSUER, SAME_PERSON, SamePersonQuery(first, invented), procedure=OVERSIGHT)

    async def test_without_rows_of_the_law_the_answer_is_no(self) -> None:
        with simulation() as sim:
            sim.add(CodeIssuer, ISSUER, codes=sim.codes)
            sim.add(CodeRelay, RELAY)
            city = "gov/test/office"
            sim.add(type("Office", (Node,), {"zone": "cloud"}), city)
            with refuses("no_legal_basis"):
                await sim.node(city).ask(ISSUER, LINKAGE_RESERVE, ReserveQuery(PERSON, "gov/test"))

    async def test_the_relay_says_when_the_issuer_is_away(
        self, sim: Simulation, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with sim.offline(ISSUER), refuses("handler_failed"):
            await acquire_code(sim.node(CITY), PERSON)
        capsys.readouterr()


def tamper(sim: Simulation, party: str, entry: str, change: Callable[[Row], Row | None]) -> Row:
    """Change or delete the last row of a kind in a party's database, as who owns the disk could."""
    db = sim._stores[party].db
    rows = [(row["position"], read_row(row["row"])) for row in db.execute("SELECT * FROM mesh_ledger")]
    position, row = [(position, row) for position, row in rows if row.entry == entry][-1]
    changed = change(row)
    if changed is None:
        db.execute("DELETE FROM mesh_ledger WHERE position = ?", (position,))
        db.execute("UPDATE mesh_ledger SET position = position - 1 WHERE position > ?", (position,))
    else:
        db.execute("UPDATE mesh_ledger SET row = ? WHERE position = ?", (encode(changed), position))
    return row


def rebuild(sim: Simulation, party: str) -> None:
    """Let the party take its tree anew from what its database now holds, its kept peaks left out."""
    sim.crash(party)
    sim._stores[party].db.execute("DELETE FROM mesh_tree")
    sim.restart(party)


def other_items(row: Row) -> Row:
    return replace(row, items="tax_year")


class TestCommission:
    async def test_honest_records_agree(self, sim: Simulation) -> None:
        await ask_income(sim)
        with refuses("no_legal_basis"):
            await sim.node(ALLOWANCE).ask(
                TAX, INCOME, IncomeQuery(1), subject=sim.code("muni/01208", "r-000001"), procedure="oversight"
            )
        with sim.offline(TAX), refuses("recipient_unreachable"):
            await ask_income(sim)
        sim.node(ALLOWANCE).notify(
            PORTAL_LETTER,
            PORTAL,
            Letter("Please claim", "請求してください", "2026-04-15"),
            subject=sim.code("muni/01208", "r-000001"),
            procedure="child-allowance",
        )
        await acquire_code(sim.node(CITY), PERSON)
        await sim.sleep(5)
        commission = sim.node(COMMISSION, Commission)
        parties = [ALLOWANCE, TAX, CITY, RELAY, ISSUER, PORTAL]
        assert await commission.reconcile(parties) == []
        assert await commission.reconcile(parties) == []
        heads = commission.db.execute("SELECT party FROM head ORDER BY party").fetchall()
        assert [row["party"] for row in heads] == sorted([*parties, BROKER])

    async def test_a_key_that_changes_during_the_inspection_accuses_nobody(self, sim: Simulation) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        left = [TAX, BROKER]

        def change(sender: str, recipient: str, line: bytes, now_us: int) -> None:
            """While its signed head is on its way."""
            if sender in left and recipient in (BROKER, COMMISSION):
                left.remove(sender)
                sim.change_keys(sender)

        sim.disturbance.rules.append(change)
        assert await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX]) == []
        assert left == []

    async def test_a_row_changed_under_a_running_node(self, sim: Simulation) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        tamper(sim, TAX, "answered", other_items)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party, one.message) for one in findings] == [("ledger_broken", TAX, "")]

    @pytest.mark.parametrize(
        ("party", "entry"), [(TAX, "answered"), (ALLOWANCE, "opened"), (BROKER, "permitted")]
    )
    async def test_a_row_changed_before_anybody_looked(self, sim: Simulation, party: str, entry: str) -> None:
        """The head then fits the forged row: the other two records tell."""
        await ask_income(sim)
        await sim.sleep(1)
        row = tamper(sim, party, entry, other_items)
        rebuild(sim, party)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party, one.message) for one in findings] == [("ledger_broken", party, row.id)]
        assert "'items'" in findings[0].text
        kept = sim.node(COMMISSION, Commission).findings()
        assert [(row["party"], row["text_ja"]) for row in kept] == [(party, findings[0].text_ja)]

    @pytest.mark.parametrize("party", [BROKER, TAX])
    async def test_who_hides_an_exchange_alone(self, sim: Simulation, party: str) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        entry = "permitted" if party == BROKER else "answered"
        tamper(sim, party, entry, lambda row: replace(row, undisclosed=True))
        rebuild(sim, party)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert [(one.party, "'undisclosed'" in one.text) for one in findings] == [(party, True)]

    async def test_a_past_that_was_signed_for_cannot_be_rewritten(self, sim: Simulation) -> None:
        """All three change the same row alike: only the kept heads tell."""
        await ask_income(sim)
        await sim.sleep(1)
        commission = sim.node(COMMISSION, Commission)
        assert await commission.reconcile([ALLOWANCE, TAX]) == []
        for party, entry in ((ALLOWANCE, "opened"), (BROKER, "permitted"), (TAX, "answered")):
            db = sim._stores[party].db
            for row in db.execute("SELECT position, row FROM mesh_ledger").fetchall():
                read = read_row(row["row"])
                if read.entry == entry and read.service == INCOME.name:
                    db.execute(
                        "UPDATE mesh_ledger SET row = ? WHERE position = ?",
                        (encode(other_items(read)), row["position"]),
                    )
            rebuild(sim, party)
        found = await commission.reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party, one.message) for one in found] == [
            ("ledger_broken", party, "") for party in (ALLOWANCE, TAX, BROKER)
        ]

    @pytest.mark.parametrize(
        ("party", "entry", "named"),
        [
            (TAX, "answered", TAX),
            (ALLOWANCE, "opened", ALLOWANCE),
            (BROKER, "permitted", BROKER),
            (BROKER, "closed", BROKER),
        ],
    )
    async def test_a_missing_row(self, sim: Simulation, party: str, entry: str, named: str) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        row = tamper(sim, party, entry, lambda row: None)
        rebuild(sim, party)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert {(one.code, one.party, one.message) for one in findings} == {("ledger_broken", named, row.id)}

    async def test_a_swapped_subject_is_found_through_the_issuer_only(
        self, sim: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Swapping(Authoriser):
            """Permits for one person what was asked about another, and records what it should."""

            def permit(self, message: Any, digest: str, recipient: str, *rest: Any, **options: Any) -> Any:
                basis, subject, now_us = rest
                if message.type == INCOME.name:
                    subject = self.codes.code(member_of(recipient), self.codes.person_of(OTHER))
                return super().permit(message, digest, recipient, basis, subject, now_us, **options)

        broker: Any = sim.node(BROKER)
        broker.router._authoriser = Swapping(broker._party, sim.policy, sim.codes, broker.authoriser.consents)
        assert await ask_income(sim) == 200, "the broker swapped the person"
        await sim.sleep(1)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party) for one in findings] == [("ledger_broken", BROKER)]
        assert "another" in findings[0].text
        assert "別人" in findings[0].text_ja

        async def trusts(self: Commission, pair: object) -> list[Finding]:
            return []

        monkeypatch.setattr(Commission, "_check_person", trusts)
        assert await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX]) == []

    async def test_who_is_away_is_named_and_the_others_are_compared(self, sim: Simulation) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        tamper(sim, ALLOWANCE, "opened", other_items)
        with sim.offline(TAX):
            findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert {(one.code, one.party) for one in findings} == {
            ("recipient_unreachable", TAX),
            ("ledger_broken", ALLOWANCE),
        }

    async def test_an_exchange_under_way_waits(self, sim: Simulation) -> None:
        sim.node(TAX, Tax).delay_s = 0.2
        asking = asyncio.create_task(ask_income(sim), name="asks")
        await sim.sleep(0.05)
        assert await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX]) == []
        assert await asking == 100

    async def test_long_ledgers_come_in_pages(self, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mesh.node.ROWS_MAX", 2)
        monkeypatch.setattr("nodes.agency.commission.ROWS_MAX", 2)
        for _ in range(3):
            await ask_income(sim)
        await sim.sleep(1)
        tamper(sim, TAX, "answered", other_items)
        rebuild(sim, TAX)
        findings = await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party) for one in findings] == [("ledger_broken", TAX)]

    async def test_rows_too_long_for_one_line_come_in_pages_too(
        self, sim: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            await ask_income(sim)
        await sim.sleep(1)
        longest = max(map(len, sim.node(TAX).host.store.ledger_rows()))
        monkeypatch.setattr("mesh.node.ROWS_BYTES_MAX", longest)
        assert await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX]) == []
        asked = [one for one in messages(sim, Request) if one.message.type == LEDGER_ROWS.name]
        assert len(asked) > 2 * 6, "one row at a time"

    @pytest.mark.parametrize("asker", [CITY, TAX, PORTAL, FIRM])
    async def test_only_the_commission_sees_ledgers(self, sim: Simulation, asker: str) -> None:
        node = sim.node(asker)
        for to in (BROKER, ALLOWANCE):
            for service, query in ((LEDGER_HEAD, HeadQuery()), (LEDGER_ROWS, RowsQuery(0, 9))):
                with pytest.raises(Refused) as refused:
                    await node.ask(to, service, query, procedure=OVERSIGHT)  # type: ignore[call-overload]
                assert refused.value.code in ("no_legal_basis", "zone_forbidden")

    def test_a_refusal_of_unproven_bytes_needs_no_record(self) -> None:
        records = Records((ALLOWANCE, "m"))
        opened = Row("opened", 1, "m", ALLOWANCE, provider=TAX, requestdigest="d")
        records.rows[ALLOWANCE] = [
            opened,
            Row("closed", 2, "m", ALLOWANCE, replydigest="r", code="certificate_revoked"),
        ]
        assert list(compare(records, [ALLOWANCE, BROKER])) == []
        records.rows[ALLOWANCE][1] = replace(records.rows[ALLOWANCE][1], code="no_legal_basis")
        assert [one.party for one in compare(records, [ALLOWANCE, BROKER])] == [BROKER]

    async def test_a_broker_that_did_not_answer_is_not_accused_of_missing_records(
        self, sim: Simulation
    ) -> None:
        await ask_income(sim)
        await sim.sleep(1)
        commission = sim.node(COMMISSION, Commission)
        sim.disturbance.rules.append(drop(BROKER, BROKER))
        silent = await commission.reconcile([ALLOWANCE, TAX])
        assert [(one.code, one.party, one.message) for one in silent] == [("timeout", BROKER, "")]
        with_both = Records((ALLOWANCE, "m"))
        with_both.rows[ALLOWANCE] = [Row("closed", 2, "m", ALLOWANCE, permitdigest="p", replydigest="r")]
        with_both.rows[TAX] = [Row("answered", 1, "m", ALLOWANCE, provider=TAX, replydigest="r")]
        found = list(compare(with_both, [ALLOWANCE, TAX]))
        assert [(one.party, "'opened'" in one.text) for one in found] == [(ALLOWANCE, True)]


def my_code(sim: Simulation, resident_code: str = PERSON) -> str:
    return sim.code("gov/portal", sim.resident(resident_code))


async def history(sim: Simulation, resident_code: str = PERSON) -> tuple[HistoryLine, ...]:
    return await sim.node(PORTAL, Portal).read_history(my_code(sim, resident_code))


class TestPortal:
    async def test_a_letter_arrives_once_for_its_resident(self, sim: Simulation) -> None:
        sim.node(ALLOWANCE).notify(
            PORTAL_LETTER,
            PORTAL,
            Letter("Please claim", "請求してください", "2026-04-15"),
            subject=sim.code("muni/01208", sim.resident(PERSON)),
            procedure="child-allowance",
        )
        await sim.sleep(30)
        portal = sim.node(PORTAL, Portal)
        letters = portal.letters(my_code(sim))
        assert [(row["source"], row["procedure"], row["due"]) for row in letters] == [
            (ALLOWANCE, "child-allowance", "2026-04-15")
        ]
        assert portal.letters(my_code(sim, OTHER)) == []

    async def test_nobody_else_writes_letters(self, sim: Simulation) -> None:
        sim.node(TAX).notify(
            PORTAL_LETTER,
            PORTAL,
            Letter("Buy", "買ってください", "2026-04-15"),
            subject=sim.code("muni/28100", sim.resident(PERSON)),
            procedure="child-allowance",
        )
        await sim.sleep(30)
        assert sim.node(PORTAL, Portal).letters(my_code(sim)) == []

    async def test_history_tells_parties_and_items_to_its_resident_only(self, sim: Simulation) -> None:
        await ask_income(sim)
        (line,) = [line for line in await history(sim) if line.requester == ALLOWANCE]
        assert (line.provider, line.service, line.procedure) == (TAX, "tax.income.v1", "child-allowance")
        assert (line.items, line.outcome) == ("tax_year total_income_yen", "answered")
        assert [line for line in await history(sim, OTHER) if line.requester == ALLOWANCE] == []

    @pytest.mark.parametrize("asker", [CITY, TAX, COMMISSION])
    async def test_only_the_portal_reads_history(self, sim: Simulation, asker: str) -> None:
        code = sim.code(member_of(asker), sim.resident(PERSON))
        with refuses("no_legal_basis"):
            await sim.node(asker).ask(BROKER, HISTORY, Empty(), subject=code, procedure=HISTORY_PROCEDURE)

    async def test_a_hidden_row_leaves_no_gap(self, sim: Simulation) -> None:
        for _ in range(2):
            await ask_income(sim)
        without = [line for line in await history(sim) if line.requester == ALLOWANCE]
        await ask_income(sim)
        sim.trace.commit()
        rows = sim._stores[ALLOWANCE].ledger_rows()
        hidden = [row.id for row in map(read_row, rows) if row.entry == "opened"][-1]
        await sim.node(ALLOWANCE).hide(hidden, [BROKER, TAX], procedure="history-mark")
        assert [line for line in await history(sim) if line.requester == ALLOWANCE] == without
        await sim.sleep(1)
        assert await sim.node(COMMISSION, Commission).reconcile([ALLOWANCE, TAX]) == []

    async def test_an_undisclosed_basis_never_shows(self, sim: Simulation) -> None:
        sim.allow(
            LegalBasis(CITY, "search", TAX, INCOME.name, ("tax_year", "total_income_yen"), undisclosed=True)
        )
        code = sim.code("muni/01208", sim.resident(PERSON))
        await sim.node(CITY).ask(TAX, INCOME, IncomeQuery(1), subject=code, procedure="search")
        assert [line for line in await history(sim) if line.requester == CITY] == []

    async def test_what_was_filed_is_kept_with_what_came_of_it(self, sim: Simulation) -> None:
        procedure, items = "child-allowance", ("tax_year", "total_income_yen")
        sim.allow(LegalBasis(PORTAL, procedure, TAX, INCOME.name, items))
        sim.allow_path(ZonePath(Zone.CLOUD, Zone.MYNUMBER, PORTAL, TAX))
        portal, me = sim.node(PORTAL, Portal), my_code(sim)
        await portal.apply(me, TAX, INCOME, IncomeQuery(1), procedure=procedure)
        with refuses("no_legal_basis"):
            await portal.apply(me, TAX, INCOME, IncomeQuery(1), procedure="other")
        assert [row["outcome"] for row in portal.applications(me)] == ["received", "no_legal_basis"]
        assert portal.applications(my_code(sim, OTHER)) == []


class TestConsents:
    """A firm asks under a consent: each way in which it can fail, and the count at the provider."""

    @pytest.fixture(autouse=True)
    def _law(self, sim: Simulation) -> None:
        sim.allow(
            LegalBasis(
                "firm/*/app", "loan", "muni/*/tax", LOAN.name, ("tax_year", "total_income_yen"), consent=True
            )
        )

    async def grant(self, sim: Simulation, **changes: Any) -> str:
        terms: dict[str, Any] = {
            "provider": TAX,
            "firm": "firm/kitami-bank",
            "firm_code": sim.code("firm/kitami-bank", sim.resident(PERSON)),
            "procedure": "loan",
            "services": (LOAN.name,),
            "items": ("total_income_yen",),
            "days": 30,
            "uses": 2,
        }
        return await sim.node(PORTAL, Portal).grant(my_code(sim), **(terms | changes))

    async def ask(
        self, sim: Simulation, consent: str | None, items: tuple[str, ...] = ("total_income_yen",)
    ) -> Income:
        code = sim.code("firm/kitami-bank", sim.resident(PERSON))
        return await sim.node(FIRM).ask(
            TAX, LOAN, IncomeQuery(2025), subject=code, procedure="loan", items=items, consent=consent
        )

    async def test_what_was_consented_to_and_no_more(self, sim: Simulation) -> None:
        consent = await self.grant(sim)
        answer = await self.ask(sim, consent)
        assert (answer.total_income_yen, answer.tax_year) == (100, UNSET)
        with refuses("consent_required"):
            await self.ask(sim, consent, ("tax_year", "total_income_yen"))

    async def test_what_stands_ended_and_was_withdrawn_outlives_a_crash_of_the_broker(
        self, sim: Simulation
    ) -> None:
        standing, ended, withdrawn = (
            await self.grant(sim),
            await self.grant(sim, days=1),
            await self.grant(sim),
        )
        await sim.node(PORTAL, Portal).withdraw(my_code(sim), withdrawn)
        await sim.sleep(2 * 86_400)
        rebuild(sim, BROKER)
        assert (await self.ask(sim, standing)).total_income_yen == 100
        for consent, code in ((ended, "consent_expired"), (withdrawn, "consent_withdrawn")):
            with refuses(code):
                await self.ask(sim, consent)
        stale = sign_difference(Difference(0, 1, (), ()), sim.keys_of(PORTAL).signing)
        with refuses("registry_stale"):
            await sim.node(PORTAL).ask(BROKER, CONSENTS, ConsentsQuery(stale), procedure=CONSENTS_PROCEDURE)

    async def test_none_and_an_invented_one(self, sim: Simulation) -> None:
        for consent in (None, "invented"):
            with refuses("consent_required"):
                await self.ask(sim, consent)

    @pytest.mark.parametrize(
        "changes",
        [
            {"provider": "muni/28100/other"},
            {"firm": "firm/other"},
            {"procedure": "other"},
            {"services": ("tax.other.v1",)},
        ],
    )
    async def test_out_of_scope(self, sim: Simulation, changes: dict[str, Any]) -> None:
        consent = await self.grant(sim, **changes)
        with refuses("consent_required"):
            await self.ask(sim, consent)

    async def test_another_persons_consent(self, sim: Simulation) -> None:
        consent = await self.grant(sim, firm_code=sim.code("firm/kitami-bank", sim.resident(OTHER)))
        with refuses("consent_required"):
            await self.ask(sim, consent)

    async def test_past_its_term(self, sim: Simulation) -> None:
        consent = await self.grant(sim, days=1)
        await sim.sleep(86_400)
        with refuses("consent_expired"):
            await self.ask(sim, consent)

    async def test_withdrawn_by_whoever_gave_it(self, sim: Simulation) -> None:
        consent = await self.grant(sim)
        portal = sim.node(PORTAL, Portal)
        with pytest.raises(Exception, match="no such consent"):
            await portal.withdraw(my_code(sim, OTHER), consent)
        await self.ask(sim, consent)
        await portal.withdraw(my_code(sim), consent)
        with refuses("consent_withdrawn"):
            await self.ask(sim, consent)
        assert [one.state for one in portal.consents(my_code(sim))] == [ConsentState.WITHDRAWN]

    async def test_used_up_is_counted_at_the_provider(self, sim: Simulation) -> None:
        consent = await self.grant(sim, uses=2)
        for _ in range(2):
            await self.ask(sim, consent)
        with pytest.raises(Refused) as refused:
            await self.ask(sim, consent)
        assert (refused.value.code, refused.value.by) == ("consent_expired", TAX)
        rebuild(sim, TAX)
        with refuses("consent_expired"):
            await self.ask(sim, consent)

    async def test_uses_are_exact_when_answers_overlap(self, sim: Simulation) -> None:
        consent = await self.grant(sim, uses=3)
        sim.node(TAX, Tax).delay_s = 1.0
        outcomes = await asyncio.gather(*(self.ask(sim, consent) for _ in range(5)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in outcomes) == ["Income"] * 3 + ["Refused"] * 2
        assert sim._stores[TAX].number(f"consent {consent}") == 3

    async def test_that_nothing_is_found_is_a_use_and_a_repeat_counts_once(self, sim: Simulation) -> None:
        consent = await self.grant(sim, uses=2)
        tax = sim.node(TAX, Tax)
        with tax.effect():
            tax.db.execute("DELETE FROM income")
        with refuses("not_found"):
            await self.ask(sim, consent)
        with tax.effect():
            tax.db.execute(
                "INSERT INTO income VALUES (?, 1)", (sim.code("muni/28100", sim.resident(PERSON)),)
            )
        await self.ask(sim, consent)
        request = [one for one in messages(sim, Request) if one.sender == FIRM][-1]
        Forger(sim, FIRM).send(request.line)
        await sim.sleep(1)
        assert sim._stores[TAX].number(f"consent {consent}") == 2

    async def test_a_failed_commit_uses_nothing(
        self, sim: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        consent = await self.grant(sim, uses=1)
        store, real = sim._stores[TAX], sim._stores[TAX].commit
        monkeypatch.setattr(store, "commit", _full_disk)
        sim.node(TAX)
        with refuses("storage_unavailable"):
            await self.ask(sim, consent)
        monkeypatch.setattr(store, "commit", real)
        assert (await self.ask(sim, consent)).total_income_yen == 100

    async def test_a_consent_that_the_portal_did_not_sign(self, sim: Simulation) -> None:
        """A broker that waves it through does not help: the provider reads the signature itself."""
        now_us = sim.now_us()
        code = sim.code("firm/kitami-bank", sim.resident(PERSON))
        forged = Consent(
            "c",
            TAX,
            "firm/kitami-bank",
            code,
            "loan",
            (LOAN.name,),
            ("total_income_yen",),
            now_us,
            now_us + 10**12,
            9,
        )
        broker: Any = sim.node(BROKER)
        sim.node(FIRM)
        for key, expected in (
            (sim.keys_of(FIRM).signing, "consent_required"),
            (sim.keys_of(PORTAL).signing, None),
        ):
            token = sign_consent(forged, key)
            broker.router._authoriser.consents.check = lambda *args, token=token, **options: token
            sim.node(PORTAL)
            if expected is None:
                await self.ask(sim, "c")
                continue
            with pytest.raises(Refused) as refused:
                await self.ask(sim, "c")
            assert (refused.value.code, refused.value.by) == (expected, TAX)

    async def test_only_the_portal_publishes_and_never_an_older_list(self, sim: Simulation) -> None:
        await self.grant(sim)
        listing = sign_difference(Difference(0, 9, (), ()), sim.keys_of(CITY).signing)
        with refuses("no_legal_basis"):
            await sim.node(CITY).ask(BROKER, CONSENTS, ConsentsQuery(listing), procedure=CONSENTS_PROCEDURE)
        portal = sim.node(PORTAL, Portal)
        with refuses("key_unknown"):
            await portal.ask(BROKER, CONSENTS, ConsentsQuery(listing), procedure=CONSENTS_PROCEDURE)
        await self.grant(sim)
        assert [one.state for one in portal.consents(my_code(sim))] == [ConsentState.IN_FORCE] * 2


def _full_disk(*_: object) -> None:
    raise sqlite3.OperationalError("disk full")

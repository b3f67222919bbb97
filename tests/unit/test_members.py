"""What parties are called: every member and system that ships has a name to read, in both languages."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import nodes
from mesh import Node
from mesh.broker import Broker
from mesh.names import is_address, member_of
from mesh.testing import simulation
from nodes.agency.code_issuer import ISSUER
from nodes.data.members import name_of, read_members
from nodes.data.standard_systems import read_standard_systems
from nodes.municipality.assembly import assemble, system_class


def modules() -> Iterator[object]:
    for found in pkgutil.walk_packages(nodes.__path__, "nodes."):
        if ".data" not in found.name:
            yield importlib.import_module(found.name)


def test_every_system_has_a_title_in_both_languages() -> None:
    classes = [
        one
        for module in modules()
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Node) and one not in (Node, Broker)
    ]
    # A base class that is only a part of a system states no zone.
    whole = [one for one in classes if any("zone" in vars(base) for base in one.__mro__ if base is not Node)]
    assert len(whole) > 50
    for one in whole:
        assert one.title, one
        assert one.title_ja, one
        assert not one.title_ja.isascii(), one


def test_the_standard_systems_are_called_as_the_law_calls_them() -> None:
    for key, system in read_standard_systems().items():
        cls = system_class(key)
        assert (cls.title, cls.title_ja) == (system.name, system.name_ja)


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ("muni/01208", ("Kitami City", "北見市")),
        ("muni/13101", ("Chiyoda Ward", "千代田区")),
        ("pref/01", ("Hokkaido", "北海道")),
        ("pref/28", ("Hyogo Prefecture", "兵庫県")),
        ("gov/digital", ("Digital Agency", "デジタル庁")),
        ("firm/nobody", None),
        ("muni/99999", None),
        ("muni/", None),
        ("what is this", None),
    ],
)
def test_members_are_called_by_their_tables(member: str, name: tuple[str, str] | None) -> None:
    assert name_of(member) == name


def test_every_member_that_the_nodes_name_has_a_name() -> None:
    addresses = [
        one
        for module in modules()
        for one in vars(module).values()
        if isinstance(one, str) and is_address(one)
    ]
    assert ISSUER in addresses
    assert {member_of(one) for one in addresses} <= {*read_members(), "firm/kitami-bank"}


async def test_names_are_those_of_who_took_part() -> None:
    class Kiosk(Node):
        """A system with a Japanese name alone."""

        title_ja = "窓口"

    with simulation() as sim:
        nodes.establish(sim)
        assemble(sim, "01208", "tax")
        sim.add(Kiosk, "muni/01208/kiosk")
        sim.add(Node, "firm/nobody/desk")
        for address in ("muni/01208/kiosk", "firm/nobody/desk", "not an address"):
            sim.transmit(address, "muni/01208/tax", b"noise")
        await sim.sleep(1)
        assert sim.names() == {
            "muni/01208": ("Kitami City", "北見市"),
            "muni/01208/kiosk": ("窓口", "窓口"),
            "muni/01208/tax": ("Individual inhabitant tax", "個人住民税"),
        }

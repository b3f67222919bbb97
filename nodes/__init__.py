"""The institutions of the mesh: each file one agency or system.

`establish` puts in place what every scenario stands on: the nation's law and its national bodies.
Municipalities are added by the scenario, with `nodes.municipality.assembly.assemble`.
"""

from __future__ import annotations

from pathlib import Path

from mesh.simulation import Simulation
from nodes.agency.certificates import CERTIFICATES, CertificateAuthority
from nodes.agency.code_issuer import ISSUER, CodeIssuer
from nodes.agency.commission import COMMISSION, Commission
from nodes.agency.jlis import RELAY, CodeRelay
from nodes.agency.pension import PENSION, PensionBody
from nodes.data.law import read_law
from nodes.data.members import name_of
from nodes.portal.application_server import SERVER, ApplicationServer
from nodes.portal.application_site import SITE, ApplicationSite
from nodes.portal.inbox import PORTAL, Portal


def establish(sim: Simulation) -> None:
    """Put the law of `nodes/data/` in force, say what members are called, and enrol the national bodies."""
    read_law().enact(sim.policy)
    sim.name_members(name_of)
    sim.add(PensionBody, PENSION)
    sim.add(CodeIssuer, ISSUER, codes=sim.codes)
    sim.add(CodeRelay, RELAY)
    sim.add(CertificateAuthority, CERTIFICATES)
    sim.add(Commission, COMMISSION)
    sim.add(Portal, PORTAL)
    sim.add(ApplicationSite, SITE)
    sim.add(ApplicationServer, SERVER)


def adopt(sim: Simulation, folder: Path) -> None:
    """Put the law in force that another package keeps in its folder, in tables written as those of `nodes/data/`."""
    read_law(folder).enact(sim.policy)

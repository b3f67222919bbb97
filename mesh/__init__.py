"""Public service mesh simulator: signed, sealed and lawful exchanges between agencies, on one machine."""

from msgspec import Struct

from mesh.dead_letter import DeadLetter
from mesh.errors import ManualReview, MeshError, NotFound, Refused, ReplicaMissing, UsageError, Withheld
from mesh.from_copy import FromCopy, instant
from mesh.message import Event
from mesh.node import Node
from mesh.papers import Paper, Replacement, Visit
from mesh.policy import LegalBasis, ZonePath
from mesh.scenario import scenario
from mesh.service import Caller, EventType, NoticeType, PersonalService, Service, receives, serves
from mesh.simulation import Simulation

__all__ = [
    "Caller",
    "DeadLetter",
    "Event",
    "EventType",
    "FromCopy",
    "LegalBasis",
    "ManualReview",
    "MeshError",
    "Node",
    "NotFound",
    "NoticeType",
    "Paper",
    "PersonalService",
    "Refused",
    "Replacement",
    "ReplicaMissing",
    "Service",
    "Simulation",
    "Struct",
    "UsageError",
    "Visit",
    "Withheld",
    "ZonePath",
    "instant",
    "receives",
    "scenario",
    "serves",
]

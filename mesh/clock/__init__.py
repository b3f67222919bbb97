"""Virtual time: an asyncio event loop whose clock jumps to the next timer when nothing else is left to do.

Rules kept in this room:
1. Time is an integer count of microseconds from 0; only a jump to the next timer moves it, never backwards.
2. Timers fire in the order (microsecond, sequence); all of one microsecond become ready together.
3. Live tasks are held in creation order, named by their loop, and cancelled in that order.
4. Nothing is shared with the world: no thread, socket, signal or real clock can wake the loop.
"""

from mesh.clock.deadlock import Deadlock
from mesh.clock.loop import VirtualLoop
from mesh.clock.runner import run

__all__ = ["Deadlock", "VirtualLoop", "run"]

"""What stood under a recording's name before: kept aside until the new recording holds something."""

from __future__ import annotations

from errno import EINVAL
from pathlib import Path


class Former:
    """What stood under a new recording's name, aside with its journal. A name that begins with a dot is not listed.

    Whoever makes one has claimed the path. So what lies aside already was left by a run that was killed before it
    recorded anything, and is what is worth keeping.
    """

    def __init__(self, path: Path) -> None:
        files = (path, path.with_name(f"{path.name}-journal"))
        self._files = [(one, one.with_name(f".{one.name}.before")) for one in files]
        self.exists = path.exists()
        if self.exists and not path.is_file():
            # A folder or a device, as /dev/null is: who may move that aside would take it from everybody.
            raise OSError(EINVAL, "what stands there is no file")
        if self._files[0][1].exists():
            self.restore()
            self.exists = True
        for file, aside in self._files:
            if file.exists() or file.is_symlink():
                file.replace(aside)

    def restore(self) -> None:
        """Put it back, in place of whatever stands there."""
        for file, aside in self._files:
            file.unlink(missing_ok=True)
            if aside.exists() or aside.is_symlink():
                aside.replace(file)

    def forget(self) -> None:
        """It is not needed any more."""
        for _, aside in self._files:
            aside.unlink(missing_ok=True)

"""The session that `atdata-appview login` leaves for the commands after it: a file of one's own.

It holds tokens that the PDS can take back, never the password, and nobody else may read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from atdata_client.client import ATProtoClient

OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class KeptSession:
    """Whose session it is, and what goes on with it; `pds` is the address that was given, if any.

    What shows it leaves the session itself out.
    """

    did: str
    handle: str
    pds: str | None
    session: str

    @classmethod
    def of(cls, client: ATProtoClient, pds: str | None) -> Self:
        """The session of a client that is logged in."""
        from atproto import Session

        text = client.export_session()
        about = Session.decode(text)
        return cls(about.did, about.handle, pds, text)

    def __repr__(self) -> str:
        return f"KeptSession({self.handle}, {self.did})"

    @property
    def home(self) -> str | None:
        """The address of the PDS that the session is with."""
        from atproto import Session

        home: str | None = Session.decode(self.session).pds_endpoint
        return home

    def serves(self, handle: str | None, pds: str | None) -> bool:
        """Whether it is the session that is asked for."""
        return handle in (None, self.did, self.handle) and pds in (None, self.pds)

    def renewed(self, client: ATProtoClient) -> Self:
        """The session as it is now: its tokens change, and the ones before end."""
        return replace(self, session=client.export_session())


class SessionFile:
    """The file at `path`, mode 0600 from its first moment on, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_user(cls) -> Self:
        """`ATDATA_APPVIEW_SESSION`, else `session.json` in the user's configuration folder."""
        named = os.environ.get("ATDATA_APPVIEW_SESSION")
        if named:
            return cls(Path(named).expanduser())
        folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        return cls(Path(folder).expanduser() / "atdata-appview" / "session.json")

    def read(self) -> KeptSession | None:
        """The session that was kept, None when there is none.

        Raises ValueError for a file that others may read or that is none of this program's.
        """
        try:
            with self.path.open(encoding="utf-8") as file:
                # Elsewhere a file's mode says nothing of who may read it.
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & OTHERS:
                    raise ValueError(
                        f"others may read {self.path}: end that session, and log in again"
                    )
                text = file.read()
        except FileNotFoundError:
            return None
        try:
            return KeptSession(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is no session: delete it, and log in again") from error

    def write(self, kept: KeptSession) -> None:
        """Keep a session in place of the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes files of mode 0600.
        descriptor, fresh = mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(kept), file)
            Path(fresh).replace(self.path)
        except BaseException:
            Path(fresh).unlink()
            raise

    def delete(self) -> bool:
        """Forget the session; whether there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

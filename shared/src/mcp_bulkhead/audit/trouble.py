"""What the log cannot do at the moment: said once in the server's own log, and asked by its health check."""

from typing import Final, Literal

Part = Literal["write", "sync", "upkeep"]
HARMLESS: Final = "upkeep"


class Trouble:
    """The present cause of failure per part; an unchanged cause is not said again."""

    def __init__(self) -> None:
        self.causes: dict[str, str] = {}

    def met(self, part: Part, error: OSError) -> None:
        import logging

        cause = f"{type(error).__name__}: {error.strerror or error}"
        if self.causes.get(part) != cause:
            self.causes[part] = cause
            logging.getLogger("mcp_bulkhead.audit").error("audit %s fails: %s", part, error)

    def over(self, part: Part) -> None:
        self.causes.pop(part, None)

    @property
    def serious(self) -> bool:
        return not self.causes.keys() <= {HARMLESS}

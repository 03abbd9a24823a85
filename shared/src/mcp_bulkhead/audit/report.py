"""What a verification says."""

from typing import Any, Final, NamedTuple

MAX_PROBLEMS: Final = 1_000


class Problem(NamedTuple):
    """One thing that is not as it was written. `file` is relative to the verified folder; `line` counts from 1.

    edited              a record's bytes changed, or its line cannot be read
    dropped             records are missing inside a segment
    reordered           a record stands where another belongs
    duplicated          a record appears a second time
    truncated           records that were there, by a signed witness, are missing at the end
    rewritten           the record was replaced together with all that follow it: a signed witness knows another one
    forged              a signature does not fit what it signs
    unknown_key         a signature of a key that is not among those given
    missing_segment     a whole file of records is gone, and no tombstone stands for it
    missing_chain       a chain that the server's list, another chain or an anchor names is gone
    missing_head        the signed head of a chain, or the signed list of chains, is gone
    damaged_at_start    the writer itself found, when it started, that records or the head had been tampered with
    damaged_at_expiry   what expired did not verify when it went
    misplaced           a file or a folder is not where, or not what, it should be
    payload_edited      a kept payload is not what its digest names
    empty               there is no log here
    """

    kind: str
    file: str
    line: int | None
    seq: int | None
    message: str

    @property
    def place(self) -> str:
        """`file:line`, as editors understand it."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        record = "" if self.seq is None else f" (record {self.seq})"
        return f"{self.kind} {self.place}{record}: {self.message}"


class OpenIntent(NamedTuple):
    """An effect that was announced and of which nobody knows how it ended (it may be running now)."""

    chain: str
    seq: int | None
    intent: str
    time: str | None
    name: str | None


class Report:
    """`ok`: nothing was changed since it was signed. Notes and open intents are for reading, they are no failure."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.open_intents: list[OpenIntent] = []
        self.chains = 0
        self.segments = 0
        self.records = 0
        self.checkpoints = 0
        self.tombstones = 0
        self.unsealed = 0
        self.heads: list[str] = []
        """The signed heads as they stand: kept elsewhere, they are the anchors of a later verification."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def problem(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def __str__(self) -> str:
        """For a terminal: one line per finding, then what was read and whether it holds."""
        lines = [f"PROBLEM {problem}" for problem in self.problems]
        lines += [f"note {note.place}: {note.message}" for note in self.notes]
        lines += [f"open intent {intent.intent} of {intent.name} in {intent.chain}" for intent in self.open_intents]
        verdict = "nothing was changed" if self.ok else f"{len(self.problems)} problems"
        read = f"{self.records} records in {self.segments} segments of {self.chains} chains"
        signed = f"{self.checkpoints} checkpoints, {self.tombstones} expired segments, {self.unsealed} not yet signed"
        return "\n".join([*lines, f"{verdict}: {read}, {signed}"])

    def as_dict(self) -> dict[str, Any]:
        counts = {
            name: getattr(self, name)
            for name in ("chains", "segments", "records", "checkpoints", "tombstones", "unsealed")
        }
        return {
            "ok": self.ok,
            **counts,
            "problems": [problem._asdict() for problem in self.problems],
            "notes": [note._asdict() for note in self.notes],
            "open_intents": [intent._asdict() for intent in self.open_intents],
            "heads": self.heads,
        }

"""One chain from its first record to its last, with every break named by what it looks like."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from .records import GENESIS, parse
from .report import MAX_PROBLEMS, OpenIntent, Problem, Report
from .seals import PublicKeys, read_signed
from .segments import HEAD, TOMBSTONE, Line, Segment, lines, segments

SEAL_KINDS: Final[Mapping[str, str]] = {"forged": "forged", "unknown_key": "unknown_key", "absent": "missing_head"}


class Witness(NamedTuple):
    """Somebody signed that this record was in the chain."""

    seq: int
    hash: str
    source: str


class Place(NamedTuple):
    """A line and the file it stands in."""

    segment: Segment
    line: Line


class Gap(NamedTuple):
    """Numbers that were jumped over, and by which line."""

    first: int
    last: int
    kind: str
    place: Place


class ChainWalk:
    """Reads one chain into a report of its own. What spans chains (intents, siblings) is left for the caller."""

    def __init__(self, folder: Path, root: Path, public: PublicKeys, anchors: Sequence[Witness]) -> None:
        self.folder = folder
        self.root = root
        self.name = f"{folder.parent.name}/{folder.name}"
        self.public = public
        self.witnesses = list(anchors)
        self.report = Report()
        self.opened: dict[str, OpenIntent] = {}
        self.closed: set[str] = set()
        self.siblings: dict[str, Witness] = {}
        self.seq, self.last = 0, GENESIS
        self.start = 0
        self.sealed = 0
        self.before: Place | None = None
        self.after_checkpoint = False
        self.excused = False
        """The record before was reported already: that the next one does not carry its hash is no second problem."""
        self.gaps: list[Gap] = []

    def run(self) -> "ChainWalk":
        head = self.read_head()
        self.read_tombstone()
        found = segments(self.folder)
        self.witnessed: dict[int, list[Witness]] = {}
        for witness in self.witnesses:
            self.witnessed.setdefault(witness.seq, []).append(witness)
        self.check_witnesses(self.seq, self.last, None)
        places = self.places([segment for segment in found if segment.first > self.start])
        place = next(places, None)
        while place is not None:
            following = next(places, None)
            self.take(place, following)
            place = following
        self.finish(head, any_records=self.report.records > 0)
        return self

    def read_head(self) -> str:
        state, head = read_signed(self.folder / HEAD, self.public, "head")
        if state == "good":
            self.sealed = int(head["seq"])
            self.witnesses.append(Witness(self.sealed, str(head["hash"]), "its signed head"))
            self.report.heads.append((self.folder / HEAD).read_text(encoding="ascii").strip())
            if head.get("chain") != self.name:
                self.problem("misplaced", HEAD, None, None, f"this is the head of {head.get('chain')}")
        elif state != "absent":
            self.problem(SEAL_KINDS[state], HEAD, None, None, "the signature of the head does not fit")
        return state

    def read_tombstone(self) -> None:
        state, tombstone = self.tombstone = read_signed(self.folder / TOMBSTONE, self.public, "tombstone")
        if state == "absent":
            return
        if state != "good":
            self.problem(SEAL_KINDS[state], TOMBSTONE, None, None, "the signature of the tombstone does not fit")
            return
        if tombstone.get("chain") != self.name:
            self.problem("misplaced", TOMBSTONE, None, None, f"this is the tombstone of {tombstone.get('chain')}")
        self.start = self.seq = int(tombstone["last_seq"])
        self.last = str(tombstone["last_hash"])
        self.after_checkpoint = True
        self.report.tombstones = int(tombstone["segments"])
        for first, last in tombstone["damaged"]:
            self.problem(
                "damaged_at_expiry",
                TOMBSTONE,
                None,
                first,
                f"records {first} to {last} did not verify when they expired",
            )
        for intent in tombstone["open_intents"]:
            self.opened[str(intent)] = OpenIntent(self.name, None, str(intent), None, None)

    def places(self, found: Sequence[Segment]) -> Iterator[Place]:
        for segment in found:
            self.report.segments += 1
            try:
                for line in lines(segment.path):
                    if line.whole:
                        yield Place(segment, line)
                    elif segment is found[-1]:
                        self.note(Place(segment, line), f"{len(line.raw)} bytes of an unfinished last line")
                    else:
                        self.problem(
                            "truncated",
                            segment.path.name,
                            line.number,
                            None,
                            "the last line of a closed segment is cut",
                        )
            except FileNotFoundError:
                raise
            except OSError as error:
                self.problem("misplaced", segment.path.name, None, segment.first, f"cannot be read: {error.strerror}")

    def take(self, place: Place, following: Place | None) -> None:
        """Put a line in its place in the chain, or say why it has none; then read what it says."""
        line, number = place.line, self.seq + 1
        frame = line.frame
        vouched = following is None or following.line.frame is None or following.line.frame.prev == line.hash
        if frame is None:
            return self.broken("edited", place, number, "the line cannot be read")
        linked = frame.prev == self.last
        if frame.seq == number:
            if not linked and not self.excused:
                self.blame(place, number, vouched=vouched, at_end=following is None)
            self.advance(place, number, excused=not linked and not vouched)
        elif linked:
            self.broken("edited", place, number, f"the record was renumbered to {frame.seq}")
        elif not vouched and following and following.line.frame and following.line.frame.seq == number + 1:
            self.broken("reordered", place, number, f"record {frame.seq} stands where {number} belongs")
        elif frame.seq > number:
            self.gaps.append(self.gap(place, number, frame.seq - 1))
            self.advance(place, frame.seq, excused=False)
        else:
            self.late(place, frame.seq)
        return None

    def blame(self, place: Place, number: int, *, vouched: bool, at_end: bool) -> None:
        """A broken link between two records: the later is whole if the next record or a signed witness says so."""
        if at_end:
            vouched = any(witness.hash == place.line.hash for witness in self.witnessed.get(number, ()))
        if vouched and self.before is not None:
            self.at("edited", self.before, number - 1, "the next record carries another hash for it")
        else:
            self.at("edited", place, number, "it does not carry the hash of the record before it")

    def broken(self, kind: str, place: Place, number: int, message: str) -> None:
        self.at(kind, place, number, message)
        self.advance(place, number, excused=True)

    def advance(self, place: Place, number: int, *, excused: bool) -> None:
        self.seq, self.last, self.before, self.excused = number, place.line.hash, place, excused
        self.report.records += 1
        record = parse(place.line.raw)
        if record is None:
            if not excused:
                self.at("edited", place, number, "the line is not spelled as the log spells")
            self.after_checkpoint = False
            return
        if not excused:
            self.check_witnesses(number, place.line.hash, place)
            if place.line.number == 1 and place.segment.first != number:
                self.at("misplaced", place, number, "the segment is not named after its first record")
        self.after_checkpoint = record.get("log") == "checkpoint"
        self.read(record, place, number)

    def gap(self, place: Place, first: int, last: int) -> Gap:
        at_border = place.line.number == 1 and place.segment.first == last + 1
        kind = (
            "dropped"
            if not at_border
            else "missing_segment"
            if self.after_checkpoint or not self.before
            else "truncated"
        )
        return Gap(first, last, kind, place)

    def late(self, place: Place, seq: int) -> None:
        for index, gap in enumerate(self.gaps):
            if gap.first <= seq <= gap.last:
                rest = [gap._replace(last=seq - 1), gap._replace(first=seq + 1)]
                self.gaps[index : index + 1] = [part for part in rest if part.first <= part.last]
                self.at("reordered", place, seq, f"the record stands after record {self.seq}")
                return
        self.at("duplicated", place, seq, "the record stands here a second time")

    def check_witnesses(self, seq: int, found: str, place: Place | None) -> None:
        for witness in self.witnessed.get(seq, ()):
            if witness.hash != found and seq:
                file = place.segment.path.name if place else TOMBSTONE
                self.problem(
                    "rewritten", file, place and place.line.number, seq, f"{witness.source} names another record here"
                )

    def read(self, record: Mapping[str, Any], place: Place, seq: int) -> None:
        match record.get("log"):
            case "checkpoint":
                self.read_checkpoint(record, place, seq)
            case "recovered":
                self.read_recovered(record, place, seq)
            case "lost":
                self.note(place, f"{record.get('lost')} records before this one could not be written", seq)
            case "start" if record.get("unsealed"):
                self.note(
                    place, f"the {record['unsealed']} records before this process were not yet under a signature", seq
                )
            case None:
                self.read_intent(record, seq)
            case _:
                pass

    def read_checkpoint(self, record: Mapping[str, Any], place: Place, seq: int) -> None:
        seal = self.public.check(place.line.raw, dict(record))
        self.report.checkpoints += 1
        if seal != "good":
            self.at(seal, place, seq, "the signature of the checkpoint does not fit")
            return
        if record.get("chain") != self.name:
            self.at("misplaced", place, seq, f"this is a checkpoint of {record.get('chain')}")
        self.sealed = max(self.sealed, seq)
        for chain, (number, last) in record.get("siblings", {}).items():
            known = self.siblings.get(chain)
            if known is None or number > known.seq:
                self.siblings[chain] = Witness(number, last, f"record {seq} of {self.name}")

    def read_recovered(self, record: Mapping[str, Any], place: Place, seq: int) -> None:
        if "torn" in record:
            self.note(place, f"torn bytes of a killed process were moved aside: {record['torn']}", seq)
        for part in ("head", "index"):
            if part in record:
                self.at("damaged_at_start", place, seq, f"the signed {part} was {record[part]} when the writer started")
        if "missing" in record:
            self.at("truncated", place, seq, f"{record['missing']} signed records were gone when the writer started")

    def read_intent(self, record: Mapping[str, Any], seq: int) -> None:
        name = str(record.get("intent"))
        if record.get("phase") == "intent":
            what = record.get("name")
            self.opened[name] = OpenIntent(
                self.name, seq, name, str(record.get("time")), None if what is None else str(what)
            )
        elif record.get("phase") == "outcome":
            self.closed.add(name)

    def finish(self, head: str, *, any_records: bool) -> None:
        for gap in self.gaps:
            many = f"records {gap.first} to {gap.last} are" if gap.last > gap.first else f"record {gap.first} is"
            self.at(gap.kind, gap.place, gap.first, f"{many} missing before this line")
        if head == "absent" and any_records:
            self.problem(
                "missing_head", HEAD, None, None, "the signed head is gone: how far the chain reached is not known"
            )
        beyond = max((witness for witness in self.witnesses if witness.seq > self.seq), default=None)
        if beyond is not None:
            file = self.before.segment.path.name if self.before else ""
            self.problem(
                "truncated", file, self.before and self.before.line.number, self.seq + 1,
                f"the chain ends at record {self.seq}, but {beyond.source} names {beyond.seq}",
            )  # fmt: skip
        self.report.chains = 1
        self.report.unsealed = max(0, self.seq - self.sealed)

    def at(self, kind: str, place: Place, seq: int, message: str) -> None:
        self.problem(kind, place.segment.path.name, place.line.number, seq, message)

    def problem(self, kind: str, file: str, line: int | None, seq: int | None, message: str) -> None:
        self.report.problem(Problem(kind, self.relative(file), line, seq, message))

    def note(self, place: Place, message: str, seq: int | None = None) -> None:
        note = Problem("note", self.relative(place.segment.path.name), place.line.number, seq, message)
        self.report.notes += [note] if len(self.report.notes) < MAX_PROBLEMS else []

    def relative(self, file: str) -> str:
        return (self.folder / file).relative_to(self.root).as_posix()

"""Whether the log is what was written: every chain, every signature, and everything that should be there.

Without `audit.key` nothing can be changed, dropped, reordered, doubled, cut off or replaced, up to the last signature,
without being named here. What no log on the same disk can show, and so this cannot either:
- whoever holds `audit.key` can write another history. Keep the public key elsewhere and pass it: then a swapped pair
  shows at least.
- the whole folder put back to an older copy, or removed together with every sibling, is a valid older log. Keep the
  signed heads (`Report.heads`) elsewhere and pass them as `anchors`: then it shows.
- records of the last second before a process was killed are chained but not yet signed (`Report.unsealed` counts them);
  a durable record is signed as soon as it is safe.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import Invalid, Missing
from .files import read_small
from .keys import keyed, read_digest_key
from .payloads import payload_files
from .records import parse
from .report import Problem, Report
from .seals import PublicKeys, read_signed
from .segments import INDEX, TOMBSTONE, chain_folders, hash_at, segments
from .walk import ChainWalk, Witness

TRIES: int = 5


def verify(directory: Path, *, public_key: Path | None = None, anchors: Path | None = None) -> Report:
    """Check every chain under `directory` (of all servers, or of one). Safe beside a running server; writes nothing."""
    report = Report()
    given = read_public(public_key) if public_key is not None else None
    folders = server_folders(directory)
    named = read_anchors(anchors, given, folders, report) if anchors is not None else {}
    if not folders:
        report.problem(Problem("empty", ".", None, None, "there is no audit log here"))
    for folder in folders:
        ServerCheck(folder, directory, given or PublicKeys.beside(folder), named, report).run()
    return report


def server_folders(directory: Path) -> list[Path]:
    """The folder itself when it holds chains, else the folders in it that do."""
    if not directory.is_dir():
        return []
    if is_server(directory):
        return [directory]
    return sorted(folder for folder in directory.iterdir() if folder.is_dir() and is_server(folder))


def is_server(folder: Path) -> bool:
    return (folder / INDEX).exists() or (folder / "audit.key").exists() or bool(chain_folders(folder))


def read_public(path: Path) -> PublicKeys:
    try:
        public = PublicKeys.of(path)
    except OSError as error:
        raise Missing("The public key cannot be read.", hint="Give the path of a copy of audit.pub.") from error
    if not public.known:
        raise Invalid("The file holds no Ed25519 public key.", hint="Give the path of a copy of audit.pub.")
    return public


def read_anchors(
    path: Path, given: PublicKeys | None, folders: Sequence[Path], report: Report
) -> dict[str, list[Witness]]:
    """Signed heads that were kept elsewhere, one per line."""
    public = given or PublicKeys(
        {key: value for folder in folders for key, value in PublicKeys.beside(folder).known.items()}
    )
    found: dict[str, list[Witness]] = {}
    try:
        kept = read_small(path, limit=64 << 20).splitlines()
    except OSError as error:
        raise Missing("The anchors cannot be read.", hint="Give a file of signed heads, one per line.") from error
    for number, raw in enumerate(kept, 1):
        head = parse(raw)
        seal = public.check(raw, head)
        if seal != "good" or head is None or head.get("log") != "head":
            kind = "forged" if seal == "good" else seal
            report.problem(Problem(kind, path.name, number, None, "this anchor is not a head signed by this log"))
            continue
        chain = str(head["chain"])
        found.setdefault(chain, []).append(Witness(int(head["seq"]), str(head["hash"]), f"anchor {number}"))
    here = {folder.name for folder in folders}
    for chain in sorted(chain for chain in found if chain.split("/")[0] not in here):
        report.problem(Problem("missing_chain", chain, None, None, "an anchor names this chain, and it is gone"))
    return found


class ServerCheck:
    """The chains of one server, and what they say about each other."""

    def __init__(
        self, folder: Path, root: Path, public: PublicKeys, anchors: dict[str, list[Witness]], report: Report
    ) -> None:
        self.folder = folder
        self.root = root
        self.public = public
        self.anchors = anchors
        self.report = report
        self.walks: dict[str, ChainWalk] = {}

    def never_written(self) -> bool:
        """A server that nobody has called yet holds a chain, and has made no key."""
        return {path.name for path in self.folder.rglob("*") if not path.is_dir()} <= {"lock"}

    def run(self) -> None:
        if not self.public.known and not self.never_written():
            self.problem("unknown_key", "audit.pub", "there is no public key: no signature can be checked")
        named = self.read_index()
        for chain in chain_folders(self.folder):
            if chain.is_symlink() or not chain.is_dir():
                self.problem("misplaced", chain.name, "a chain is a folder, not a link or a file")
            else:
                self.walks[chain.name] = self.walk(chain)
        for walk in self.walks.values():
            self.merge(walk.report)
        self.check_index(named)
        self.check_siblings()
        self.check_payloads()
        closed = {name for walk in self.walks.values() for name in walk.closed}
        for walk in self.walks.values():
            self.report.open_intents += [intent for name, intent in walk.opened.items() if name not in closed]

    def walk(self, chain: Path) -> ChainWalk:
        """A segment may expire under the reader: then the chain is read again, with its new tombstone."""
        anchors = self.anchors.get(f"{self.folder.name}/{chain.name}", [])
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                walk = ChainWalk(chain, self.root, self.public, anchors).run()
                if walk.report.ok or walk.tombstone == read_signed(chain / TOMBSTONE, self.public, "tombstone"):
                    return walk
        raise Missing("The log changes faster than it can be read.", hint="Verify again when the server is less busy.")

    def read_index(self) -> dict[str, str]:
        """The chains that must be there, each with who says so."""
        state, index = read_signed(self.folder / INDEX, self.public, "index")
        if state == "absent":
            if any(segments(chain) for chain in chain_folders(self.folder) if chain.is_dir()):
                self.problem("missing_head", INDEX, "the signed list of chains is gone")
        elif state != "good":
            self.problem(state, INDEX, "the signature of the list of chains does not fit")
        prefix = f"{self.folder.name}/"
        anchored = {chain.removeprefix(prefix): "an anchor" for chain in self.anchors if chain.startswith(prefix)}
        return anchored | {str(name): "the list of chains" for name in index.get("chains", ())}

    def check_index(self, named: dict[str, str]) -> None:
        for walk in self.walks.values():
            named = dict.fromkeys(walk.siblings, f"a checkpoint of {walk.name}") | named
        for chain, source in sorted(named.items()):
            walk = self.walks.get(chain)
            if walk is None or not (walk.report.heads or walk.report.problems or walk.report.records):
                self.problem("missing_chain", chain, f"{source} names this chain, and it is gone")

    def check_siblings(self) -> None:
        """The furthest that another chain saw of a chain must still be in it."""
        for walk in self.walks.values():
            for chain, witness in walk.siblings.items():
                seen = self.walks.get(chain)
                if seen is None or witness.seq <= seen.start:
                    continue
                if witness.seq > seen.seq:
                    self.problem(
                        "truncated",
                        chain,
                        f"the chain ends at record {seen.seq}, but {witness.source} names {witness.seq}",
                    )
                    continue
                home = [segment for segment in segments(seen.folder) if segment.first <= witness.seq]
                if home and hash_at(home[-1].path, witness.seq) not in (None, witness.hash):
                    self.problem("rewritten", chain, f"{witness.source} names another record {witness.seq}")

    def check_payloads(self) -> None:
        secret = read_digest_key(self.folder)
        for path in payload_files(self.folder) if secret is not None else ():
            if keyed(secret or b"", read_small(path, limit=1 << 30)) != path.stem:
                self.problem("payload_edited", f"payloads/{path.name}", "the payload is not the one its digest names")

    def merge(self, part: Report) -> None:
        for name in ("chains", "segments", "records", "checkpoints", "tombstones", "unsealed"):
            setattr(self.report, name, getattr(self.report, name) + getattr(part, name))
        for problem in part.problems:
            self.report.problem(problem)
        self.report.notes += part.notes
        self.report.heads += part.heads

    def problem(self, kind: str, file: str, message: str) -> None:
        self.report.problem(Problem(kind, (self.folder / file).relative_to(self.root).as_posix(), None, None, message))

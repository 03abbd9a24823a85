"""All talk to the file system: `Files`, and the plain data it answers with."""

from .answers import (
    BinaryPiece,
    FailedPiece,
    Found,
    Grepped,
    Hit,
    Listing,
    MediaPiece,
    OpenedResource,
    Piece,
    Row,
    Skipped,
    TextPiece,
)
from .files import Files
from .wanting import Want

__all__ = [
    "BinaryPiece",
    "FailedPiece",
    "Files",
    "Found",
    "Grepped",
    "Hit",
    "Listing",
    "MediaPiece",
    "OpenedResource",
    "Piece",
    "Row",
    "Skipped",
    "TextPiece",
    "Want",
]

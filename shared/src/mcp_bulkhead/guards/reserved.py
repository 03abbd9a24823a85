"""The two kinds of names that are ours inside an operator's folder."""

TEMP_PREFIX = ".bulkhead-tmp-"
"""What is being written. Never listed; what a crash left behind is swept."""
TRASH = ".bulkhead-trash"
"""A folder directly in the root: where deleted things go."""


def is_in_trash(rel: str) -> bool:
    """The trash itself or anything in it, on file systems that ignore case too."""
    return rel.partition("/")[0].lower() == TRASH

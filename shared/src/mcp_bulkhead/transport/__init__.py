"""How messages come in and go out: our own stdio, and the door in front of streamable HTTP."""

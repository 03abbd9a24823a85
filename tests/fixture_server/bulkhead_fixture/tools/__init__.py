"""The fixture's tools: ordinary ones, odd ones, and one that changes something."""

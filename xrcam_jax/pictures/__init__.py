"""Pictures and videos: read from files, prepared for a network, drawn on, and written."""

"""From recordings to batches: frames, patients, annotations, and a stand-in for the recordings."""

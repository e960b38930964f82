"""Pictures and videos: reading, preparing, drawing and writing them; nothing here knows of models or methods."""

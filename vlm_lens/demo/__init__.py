"""The bundled model: its scenes, its texts, its training."""

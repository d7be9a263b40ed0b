"""The studies: each folder asks one question of a model, as published and controlled."""

"""Problems written down in TOML."""

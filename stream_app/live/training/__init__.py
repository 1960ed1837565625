"""The trainer process: learns closed periods while its worker is the active one, and publishes versions."""

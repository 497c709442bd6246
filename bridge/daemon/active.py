"""The configuration in force, and the access to the cloud that follows from it and from the SIM."""

from bridge.core.modem import Identity
from bridge.daemon import configure
from bridge.flow.message.codecs import CloudAccess
from bridge.settings import Loaded, Settings


class ActiveConfiguration:
    """What a reload, a change from afar and the SIM change; lives in the event loop's thread."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.access = configure.access(loaded.settings)
        """The cloud's address, and the credentials for it as far as they are known."""
        self._identity = Identity()

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.loaded.settings

    def identified(self, identity: Identity) -> None:
        """Take the credentials that a SIM may bring; raises `ConfigError`."""
        if identity != self._identity:
            self._identity = identity
            self.access = configure.access(self.settings, identity)

    def access_with(self, settings: Settings) -> CloudAccess:
        """Return the access that other ``settings`` give; raises `ConfigError`."""
        return configure.access(settings, self._identity)

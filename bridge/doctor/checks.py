"""The checks, in the order of the report."""

from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.doctor import box, broker, cloud, configuration, modem, store
from bridge.doctor.context import Context
from bridge.doctor.finding import Finding, fail
from bridge.doctor.fixes import as_the_service
from bridge.errors import WHO_MAY

Check = Callable[[Context], Finding | Iterator[Finding] | None]

CHECKS: tuple[Check, ...] = (
    configuration.configuration,
    configuration.permissions,
    configuration.environment,
    configuration.overrides,
    configuration.credentials,
    store.daemon,
    broker.broker,
    cloud.cloud,
    modem.modem,
    box.clock,
    box.disk,
    box.speed,
    store.outbox,
    store.inbound,
    configuration.allow_list,
    configuration.budget,
    box.memory,
    box.power,
)


def examine(context: Context, announce: Callable[[str], None]) -> Iterator[Finding]:
    """Run the checks in order; ``announce`` gets each action on the outside before it happens."""
    for check in CHECKS:
        if check is cloud.cloud and (said := cloud.announcement(context)):
            announce(said)
        found = check(context)
        if isinstance(found, Finding):
            yield found
        elif found is not None:
            yield from found


def unreadable(error: str, etc: Path = Path("/etc")) -> Iterator[Finding]:
    """Return the findings of an unusable configuration."""
    if WHO_MAY in error:
        yield fail("configuration", error.removesuffix(f"; {WHO_MAY}"), WHO_MAY)
        return
    fix = "correct it, and check with: hologram-bridge check-config"
    environment = etc / "default" / "hologram-bridge"
    if environment.exists():
        fix += f"; with the variables of {environment}: {as_the_service(environment)}"
    for line in error.splitlines():
        yield fail("configuration", line, fix)

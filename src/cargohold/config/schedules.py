"""When something is to be done that comes round: at times of the clock, or after a while."""

import math
from datetime import datetime
from typing import NamedTuple, Protocol

from cargohold.config.kinds import Kind, Misfit, duration, write_duration
from cargohold.config.section import YEAR

OFF = "off"

_INTERVAL = duration(1, YEAR)
_FIELDS = 5


class Schedule(Protocol):
    """Which times come after others, all in seconds since the epoch."""

    def after(self, moment: float) -> float:
        """When it is due for the first time after `moment`; infinity where that never comes."""
        ...


class Interval(NamedTuple):
    """Due so many seconds after the last time."""

    seconds: float

    def after(self, moment: float) -> float:
        """See `Schedule`."""
        return moment + self.seconds


class Clock(NamedTuple):
    """Due when the local clock shows what five fields of cron(8) say.

    Where the clock is put forward, what falls into the hour that is left out is due as much later; where it is put
    back, what falls into the hour that comes twice is due in the first of the two.
    """

    expression: str

    def after(self, moment: float) -> float:
        """See `Schedule`."""
        from cronsim import CronSim  # noqa: PLC0415 - what has no schedule need not have it in memory

        times = CronSim(self.expression, datetime.fromtimestamp(moment))  # noqa: DTZ006 - the local clock is meant
        return next((found for time in times if (found := time.timestamp()) > moment), math.inf)


def schedule_of(text: str) -> Schedule | None:
    """The schedule that a setting of the kind SCHEDULE holds; None where it is off."""
    if text == OFF:
        return None
    return Clock(text) if " " in text else Interval(_INTERVAL.read(text))


def _read_schedule(value: object) -> str:
    if value is False:  # as YAML reads an `off` without quotes
        return OFF
    words = value.split() if isinstance(value, str) else []
    if [word.lower() for word in words] == [OFF]:
        return OFF
    if len(words) == _FIELDS:
        return _read_clock(words)
    return write_duration(_INTERVAL.read(value))


def _read_clock(words: list[str]) -> str:
    from cronsim import CronSimError  # noqa: PLC0415 - as above

    expression = " ".join(words)
    try:
        first = Clock(expression).after(0.0)
    except CronSimError as error:
        raise Misfit(str(error)) from None
    except ValueError:  # Python reads no number of more than some thousands of digits
        raise Misfit from None
    if first == math.inf:
        raise Misfit("such a day never comes")
    return expression


SCHEDULE = Kind(
    "five fields of cron such as 0 3 * * *, an interval such as 6h, from 1s to 365d, or off",
    _read_schedule,
    str,
    {"anyOf": [{"type": "number", "minimum": 1, "maximum": YEAR}, {"type": "string"}, {"const": False}]},
)

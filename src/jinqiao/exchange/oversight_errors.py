"""Errors of the oversight of calls. Their words stand in `kernel/texts/errors/exchange.toml`."""

from jinqiao.kernel.errors import InvalidInput, NotAllowed, WrongState


class NotYourAnomaly(NotAllowed):
    """An anomaly is closed by its provider or the authority, never by the side whose calls it is about."""

    code = "exchange.anomaly.not_yours"


class AnomalyReasonMissing(InvalidInput):
    code = "exchange.anomaly.reason_missing"


class AnomalyClosed(WrongState):
    code = "exchange.anomaly.closed"


class NotYourSample(NotAllowed):
    """The consumer justifies, the provider or the authority judges; what came late, the authority alone."""

    code = "exchange.sample.not_yours"


class NotYourSampling(NotAllowed):
    """The authority announces periods of its own."""

    code = "exchange.sampling.not_yours"


class SampleStateWrong(WrongState):
    code = "exchange.sample.state_wrong"


class JustificationMissing(InvalidInput):
    """Case reference and text are both needed, within their lengths."""

    code = "exchange.sample.justification_missing"


class OpinionMissing(InvalidInput):
    code = "exchange.sample.opinion_missing"


class SamplingPeriodWrong(InvalidInput):
    """The last day before the first, over already, or further ahead than a year; or a share that is none."""

    code = "exchange.sampling.period_wrong"


class NotTheRightsDesk(NotAllowed):
    """A person's right of access is answered by the authority."""

    code = "exchange.disclosure.not_yours"


class PersonNumberWrong(InvalidInput):
    """Not a resident identity number: length, date or check digit. The number itself is told to nobody."""

    code = "exchange.disclosure.number_wrong"


class DisclosureReferenceMissing(InvalidInput):
    """Which request of a person is answered has to be said."""

    code = "exchange.disclosure.reference_missing"
